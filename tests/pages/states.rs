//! Every page over operations in every state, and contents that mean harm.

use serde_json::json;

use crate::support::{Server, encoded};

const PAGES: [&str; 5] = ["operations", "kinds", "workers", "start", "system"];

#[tokio::test]
async fn browsers_are_led_to_the_operations_and_clients_get_what_they_did() {
    let server = Server::start(&[]).await;
    let led = server.page("/").await.expect(303);
    assert_eq!((led.header("location"), led.header("vary")), ("ui/operations", "accept"));
    assert_eq!(server.page("/ui").await.expect(303).header("location"), "ui/operations");
    assert_eq!(server.page("/ui/").await.expect(303).header("location"), "operations");
    for accept in ["*/*", "application/json", "text/html;q=0"] {
        let answer = server.ask("GET", "/", &[("accept", accept)], "").await.expect(404);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    server
        .ask("POST", "/", &[("accept", "text/html")], "")
        .await
        .expect(404)
        .has("ROUTE_NOT_FOUND");
    for page in PAGES {
        server.page(&format!("/ui/{page}")).await.expect(200).has("longrun");
    }
    // What a wrong filter matches is not known, and one mistake is told once.
    server.page("/ui/operations?filter=state%3D%3DQ").await.expect(400).has_not("No operation");
    let told = server.page("/ui/bulk?action=burn").await.expect(400);
    assert_eq!(told.body.matches("must be cancel, retry or delete").count(), 1);
    server.page("/ui/workers?kind=9%20bad").await.expect(400).has("kind");
    server.page("/ui/nothing").await.expect(404).has("ROUTE_NOT_FOUND");
    let wrong = server.ask("POST", "/ui/kinds", &[], "").await.expect(405);
    assert_eq!(wrong.header("allow"), "GET, HEAD");
    for (file, media_type) in
        [("style.css", "text/css"), ("live.js", "text/javascript"), ("icon.svg", "image/svg+xml")]
    {
        let asset = server.page(&format!("/ui/{file}?0")).await.expect(200);
        assert_eq!(asset.header("content-type"), media_type);
        assert!(asset.header("cache-control").contains("immutable"));
        assert!(!asset.body.contains("http://") || file == "icon.svg", "{file}");
    }
    let off = Server::start(&["--pages", "off"]).await;
    off.page("/").await.expect(404).has("ROUTE_NOT_FOUND");
    off.page("/ui/operations").await.expect(404).has("ROUTE_NOT_FOUND");
}

#[tokio::test]
async fn a_page_shows_where_an_operation_is_and_why() {
    let slow = "slow=echo 3/4 copying >&3; until [ -e go ]; do sleep 0.05; done; cat";
    let server = Server::start(&[
        "--handler",
        "ok=cat",
        "--handler",
        "bad=echo no disk >&2; exit 3",
        "--handler",
        slow,
    ])
    .await;
    let queued = server.submit("", json!({"kind": "nobody", "labels": {"team": "maps"}})).await;
    let done = server.submit_until("ok", "SUCCEEDED").await;
    let failed = server.submit_until("bad", "FAILED").await;
    let running = server.submit_until("slow", "RUNNING").await;
    let later = server.submit("", json!({"kind": "ok", "startIn": "3600s"})).await;
    server.stream("/ui/operations/live", "", "3/4 copying").await;

    let list = server.page("/ui/operations").await.expect(200);
    for id in [&queued, &done, &failed, &running, &later] {
        assert!(list.body.contains(&format!("<tr data-key=\"{id}\">")), "{id}");
    }
    list.has("no worker serves nobody")
        .has("<b>no worker</b>")
        .has("<b>scheduled</b>")
        .has("75 %")
        .has("3/4 copying")
        .has("<bdi>team</bdi>=<bdi>maps</bdi>");

    let shown = async |id: &str| server.page(&format!("/ui/operations/{id}")).await.expect(200);
    let page = shown(&queued).await;
    page.has("It is not running")
        .has("NO_WORKER")
        .has("Cancel the operation")
        .has("curl ")
        .has("longrun --server")
        .has("grpcurl -plaintext")
        .has_not("Retry</button>");
    let page = shown(&done).await;
    page.has("Succeeded")
        .has("<svg")
        .has("attempt 1 started on")
        .has("<pre class=\"text\" tabindex=\"0\">one</pre>")
        .has("Retry</button>")
        .has_not("data-live");
    shown(&failed).await.has("It failed").has("no disk").has("Start one like it");
    let page = shown(&running).await;
    page.has("3/4 copying").has("data-live").has_not(" ago</time></span>");
    shown(&later).await.has("Not before").has("SCHEDULED");

    let one = server
        .page(&format!("/ui/operations?filter={}", encoded("state=FAILED")))
        .await
        .expect(200);
    one.has(&failed).has_not(&done).has("value=\"state=FAILED\"");
    server
        .page("/ui/operations?filter=stat%3D1")
        .await
        .expect(400)
        .has("filter")
        .has("at character 1")
        .has("value=\"stat=1\"");
    server.page("/ui/operations?page=x").await.expect(400).has("page_token");
    server
        .page("/ui/operations?order=zzz&filter=state%3DFAILED")
        .await
        .expect(400)
        .has("order must be one of newest, oldest, ended")
        .has("value=\"state=FAILED\"")
        .has_not("<tr data-key");
    server.page("/ui/operations/live?order=zzz").await.expect(400);
    server.page("/ui/operations?order=newest").await.expect(200).has("<tr data-key");
    server.page("/ui/deliveries?state=zzz").await.expect(400).has("PENDING, DELIVERED or DEAD");
    server.page("/ui/operations/none").await.expect(404).has("there is no operation none");
    server.page("/ui/operations/0198000a-0000-7000-8000-000000000000").await.expect(404);
    server
        .page("/ui/kinds")
        .await
        .expect(200)
        .has("<bdi>nobody</bdi>")
        .has("<b class=\"trouble\">none</b>");
    server.page("/ui/workers").await.expect(200).has("Serving").has("1 of 4");
    server.page("/ui/workers?kind=slow").await.expect(200).has("Those that serve");
    server.page("/ui/system").await.expect(200).has("The server accepts work.").has("sqlite:");
    let form = server.page(&format!("/ui/start?from={done}")).await.expect(200);
    form.has("value=\"ok\"").has("one</textarea>");
    std::fs::write(server.directory().join("go"), "").unwrap();
}

#[tokio::test]
async fn a_label_leads_to_all_that_have_it_whatever_its_value() {
    let server = Server::start(&[]).await;
    for value in ["a\"b", "a\\b", "a*", "*", "<b>&'", "שלום \u{202e}x"] {
        let labels = json!({"quote": value});
        let id = server.submit("", json!({"kind": "nobody", "labels": labels})).await;
        let other = server.submit("", json!({"kind": "nobody", "labels": {"quote": "abc"}})).await;
        let page = server.page(&format!("/ui/operations/{id}")).await.expect(200);
        let link = page.body.split("<a class=\"label\" href=\"../").nth(1).expect("a link");
        let link = link.split('"').next().unwrap().replace("&amp;", "&");
        let list = server.page(&format!("/ui/{link}")).await.expect(200);
        list.has(&id).has_not(&other);
    }
}

#[tokio::test]
async fn pages_follow_each_other() {
    let server = Server::start(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(server.submit("", json!({"kind": "many"})).await);
    }
    let first = server.page("/ui/operations?filter=kind%3Dmany").await.expect(200);
    let next = first.body.split("href=\"").find(|it| it.contains("rel=\"next\"")).expect("a link");
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    let second = server.page(&format!("/ui/{next}")).await.expect(200).has_not("rel=\"next\"");
    for (at, id) in ids.iter().rev().enumerate() {
        assert_eq!(first.body.contains(id.as_str()), at < 50, "{at}");
        assert_eq!(second.body.contains(id.as_str()), at >= 50, "{at}");
    }
    let oldest = server.page("/ui/operations?order=oldest").await.expect(200);
    oldest.has(&ids[0]).has_not(&ids[59]);
}

#[tokio::test]
async fn nothing_that_strangers_say_is_executed_or_hidden() {
    const HARM: &str = "<script>alert(1)</script>\"'>&amp;\u{202e}gpj.exe";
    let command = format!(
        "harm=printf '%s' '{}' >&2; printf '%s' '{}' >&3; cat; exit 1",
        HARM.replace('\'', "'\\''"),
        "1/2 <b>x</b>"
    );
    let html = "page=printf '<script>alert(2)</script>'";
    let server = Server::start(&["--handler", &command, "--handler", html]).await;
    let request = json!({"kind": "harm", "labels": {"team": "<img src=x onerror=alert(3)>\u{2066}"},
        "input": {"text": HARM}});
    let id = server.submit("", request).await;
    server.until(&id, "FAILED").await;
    for path in [format!("/ui/operations/{id}"), "/ui/operations".to_owned()] {
        // That it is well-formed, and has no script of its own, is looked at for every page.
        let page = server.page(&path).await.expect(200);
        page.has_not("<script>")
            .has_not("<img")
            .has_not("\u{202e}")
            .has_not("\u{2066}")
            .has("&lt;script&gt;")
            .has("\\u{202e}")
            .has("\\u{2066}");
    }
    let told = server.stream("/ui/operations/live", "", "harm").await;
    assert!(!told.contains("<script>") && !told.contains("<img"), "{told}");
    let filter = encoded(HARM);
    server.page(&format!("/ui/operations?filter={filter}")).await.expect(400).has_not("<script>");
    server.page(&format!("/ui/{filter}")).await.expect(404).has_not("<script>");
    server.page(&format!("/ui/start?kind={filter}")).await.expect(200).has_not("<script>");
    let name = encoded("../../x");
    server.page(&format!("/ui/operations/{name}")).await.expect(404);

    let page = server
        .submit("", json!({"kind": "page", "input": {"data": "", "contentType": "text/html"}}))
        .await;
    server.until(&page, "SUCCEEDED").await;
    for query in ["", "?show"] {
        let path = format!("/ui/operations/{page}/result{query}");
        let file = server.ask("GET", &path, &[], "").await.expect(200);
        assert_eq!(file.body, "<script>alert(2)</script>");
        assert!(file.header("content-disposition").starts_with("attachment; filename="));
        assert!(file.header("content-security-policy").contains("sandbox"));
        assert_eq!(file.header("x-content-type-options"), "nosniff");
    }
}
