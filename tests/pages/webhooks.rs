//! Webhooks on pages: made, paused, deleted; their deliveries, and dead letters that are sent again.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::receiver::Receiver;
use crate::support::{Answer, Server};

/// Reads a page until it has `text`.
async fn until(server: &Server, path: &str, text: &str) -> Answer {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let page = server.page(path).await.expect(200);
        if page.body.contains(text) {
            return page;
        }
        assert!(std::time::Instant::now() < end, "{text:?} does not come: {}", page.body);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

const ALLOW: [&str; 4] = ["--webhook-allow", "127.0.0.0/8", "--handler", "ok=cat"];

#[tokio::test]
async fn a_webhook_is_made_paused_resumed_and_deleted() {
    let server = Server::start(&ALLOW).await;
    let receiver = Receiver::start(204);
    let page = server.page("/ui/webhooks").await.expect(200).has("callbacks").has("Make it");
    let token = page.token();
    let wrong = [("token", &*token), ("url", "ftp://no"), ("filter", "kind ="), ("format", "x")];
    let refused = server.send("/ui/webhooks", &wrong, "").await.expect(400);
    refused
        .has("<b>url</b>")
        .has("<b>format</b>")
        .has("value=\"ftp://no\"")
        .has("<details class=\"make\" open>");
    let url = format!("{}/hook", receiver.url);
    let fields = [
        ("token", &*token),
        ("url", &url),
        ("filter", "kind = \"ok\""),
        ("state", "SUCCEEDED"),
        ("state", "FAILED"),
        ("format", "cloudevents"),
    ];
    let made = server.send("/ui/webhooks", &fields, "").await.expect(303);
    let path = format!("/ui/{}", made.header("location"));
    let id = path.rsplit('/').next().unwrap().to_owned();
    let page = server.page(&path).await.expect(200);
    page.has(&url)
        .has("succeeded, failed")
        .has("cloudevents")
        .has("kind = &quot;ok&quot;")
        .has("No delivery matches")
        .has_not("whsec_");
    server.page("/ui/webhooks").await.expect(200).has(&id).has_not("paused");

    let act =
        async |verb: &str| server.send(&format!("{path}/{verb}"), &[("token", &token)], "").await;
    assert_eq!(act("pause").await.expect(303).header("location"), format!("../{id}"));
    server.page(&path).await.expect(200).has("It is paused").has(">Resume</button>");
    server.page("/ui/webhooks").await.expect(200).has("paused");
    let operation = server.submit_until("ok", "SUCCEEDED").await;
    until(&server, &format!("{path}?state=PENDING"), &operation).await.has("Waiting");
    assert_eq!(receiver.got().len(), 0);
    act("resume").await.expect(303);
    let page = until(&server, &format!("{path}?state=DELIVERED"), &operation).await;
    page.has("operation.succeeded").has("204").has_not("It is paused");
    assert_eq!(receiver.got().len(), 1);
    let shown = server.page(&format!("/ui/operations/{operation}")).await.expect(200);
    shown.has("aria-label=\"Webhooks\"").has(&url).has("answered 204");

    let secret = act("secret").await.expect(200).has("The secret").has("whsec_");
    let rotated = act("rotate").await.expect(200).has("The new secret");
    let of = |page: &Answer| page.body.split("whsec_").nth(1).unwrap()[..44].to_owned();
    assert_ne!(of(&secret), of(&rotated));
    server.page(&path).await.expect(200).has("Former secret signs until");
    assert_eq!(act("delete").await.expect(303).header("location"), "../../webhooks");
    server.page(&path).await.expect(404).has("WEBHOOK_NOT_FOUND");
    server.page("/ui/webhooks").await.expect(200).has_not(&id);
    // What became of its deliveries is still there.
    let path = format!("/ui/deliveries?webhook={id}");
    server.page(&path).await.expect(200).has(&operation).has("Delivered");
}

#[tokio::test]
async fn dead_letters_are_sent_again() {
    let server = Server::start(&[&ALLOW[..], &["--webhook-retry-for", "0s"]].concat()).await;
    let receiver = Receiver::start(500);
    let mut operations = Vec::new();
    for _ in 0..3 {
        let request = json!({"kind": "ok", "callbackUrl": format!("{}/x", receiver.url)});
        operations.push(server.submit("", request).await);
    }
    let mut page = server.page("/ui/deliveries?state=DEAD").await.expect(200);
    while page.body.matches("Given up").count() < 3 {
        page = until(&server, "/ui/deliveries?state=DEAD", "Given up").await;
    }
    page = page.has("500").has("&lt;b&gt;no&lt;/b&gt;\\u{202e}").has_not("<b>no</b>");
    let token = page.token();
    let ids: Vec<String> = page
        .body
        .split("name=\"id\" value=\"")
        .skip(1)
        .map(|it| it.split('"').next().unwrap().to_owned())
        .collect();
    server.page(&format!("/ui/operations/{}", operations[0])).await.has("Send again").has("500");
    receiver.status.store(200, Ordering::SeqCst);
    // One of them, from the operation's page; then all of the page.
    let here = format!("operations/{}", operations[0]);
    let fields = [("token", &*token), ("here", &here), ("id", &ids[0])];
    let sent = server.send("/ui/deliveries/redeliver", &fields, "").await.expect(303);
    assert_eq!(sent.header("location"), format!("../{here}"));
    let mut fields = vec![("token", &*token), ("here", "//evil.example")];
    fields.extend(ids.iter().map(|id| ("id", &**id)));
    let sent = server.send("/ui/deliveries/redeliver", &fields, "").await.expect(303);
    assert_eq!(sent.header("location"), "../deliveries");
    let mut page = server.page("/ui/deliveries?state=DELIVERED").await.expect(200);
    while page.body.matches(">Delivered</span>").count() < 3 {
        page = until(&server, "/ui/deliveries?state=DELIVERED", "Delivered").await;
    }
    server.page("/ui/deliveries?state=DEAD").await.expect(200).has("No delivery matches");
    let of_one = server.page(&format!("/ui/deliveries?operation={}", operations[0])).await;
    of_one
        .expect(200)
        .has(&operations[0])
        .has_not(&operations[1])
        .has("webhook deliveries --operation");
    server.page("/ui/deliveries?state=GONE").await.expect(400).has("PENDING, DELIVERED or DEAD");
    server.page("/ui/deliveries?operation=x").await.expect(400).has("operation");
    let fields = [("token", &*token), ("id", "msg_00000000000000000000000000000000")];
    server
        .send("/ui/deliveries/redeliver", &fields, "")
        .await
        .expect(404)
        .has("DELIVERY_NOT_FOUND");
}

#[tokio::test]
async fn webhooks_are_for_those_who_administer() {
    const ROLES: [&str; 5] = ["submit", "read", "work", "admin", "operator"];
    let (server, keys) = Server::start_for(&ROLES, &ALLOW[..2]).await;
    let id = server.submit(&keys[0], json!({"kind": "nobody"})).await;
    for page in ["webhooks", "webhooks/callbacks", "deliveries", "deliveries?state=DEAD"] {
        for (role, key) in ROLES.iter().zip(&keys) {
            let may = ["admin", "operator"].contains(role);
            let answer = server.page_for(key, &format!("/ui/{page}")).await;
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{page} as {role}");
        }
        server.page(&format!("/ui/{page}")).await.expect(303);
    }
    for live in ["webhooks/callbacks/live", "deliveries/live"] {
        server.page(&format!("/ui/{live}")).await.expect(401);
        server.page_for(&keys[1], &format!("/ui/{live}")).await.expect(403);
        let cookie = format!("longrun_key={}", keys[3]);
        server.stream(&format!("/ui/{live}"), &cookie, "event: news").await;
    }
    // What a role may not do is not offered, and a form of its own does not help.
    for (key, may) in keys.iter().zip([None, Some(false), None, Some(true), Some(true)]) {
        let Some(may) = may else { continue };
        let page = server.page_for(key, &format!("/ui/operations/{id}")).await.expect(200);
        assert_eq!(page.body.contains(">Webhooks</a>"), may);
    }
    let token = server.page_for(&keys[1], "/ui/kinds").await.token();
    let cookie = format!("longrun_key={}", keys[1]);
    for act in [
        "webhooks",
        "webhooks/callbacks/pause",
        "webhooks/callbacks/resume",
        "webhooks/callbacks/secret",
        "webhooks/callbacks/rotate",
        "webhooks/callbacks/delete",
        "deliveries/redeliver",
    ] {
        let answer = server.send(&format!("/ui/{act}"), &[("token", &token)], &cookie).await;
        answer.expect(403).has("PERMISSION_DENIED");
    }
    let token = server.page_for(&keys[4], "/ui/webhooks").await.expect(200).token();
    let cookie = format!("longrun_key={}", keys[4]);
    let fields = [("token", &*token)];
    server.send("/ui/webhooks/callbacks/pause", &fields, &cookie).await.expect(303);
    server.page_for(&keys[3], "/ui/webhooks/callbacks").await.expect(200).has("It is paused");
}
