//! What forms do: to one operation, to many, and by submitting.

use serde_json::json;

use crate::support::{Server, encoded};

/// The path of a page that an answer leads to from `path`.
fn next(path: &str, location: &str) -> String {
    let (folder, mut rest) = (path.rsplit_once('/').unwrap().0, location);
    let mut folder = folder.to_owned();
    while let Some(behind) = rest.strip_prefix("../") {
        folder = folder.rsplit_once('/').unwrap().0.to_owned();
        rest = behind;
    }
    format!("{folder}/{rest}")
}

#[tokio::test]
async fn one_operation_is_cancelled_retried_and_deleted() {
    let server = Server::start(&["--handler", "bad=exit 3"]).await;
    let id = server.submit("", json!({"kind": "nobody", "input": {"text": "x"}})).await;
    let token = server.page(&format!("/ui/operations/{id}")).await.token();
    let path = format!("/ui/operations/{id}/cancel");
    let answer = server.send(&path, &[("token", &token), ("reason", "wrong input")], "").await;
    let shown = next(&path, answer.expect(303).header("location"));
    assert_eq!(shown, format!("/ui/operations/{id}"));
    server.page(&shown).await.expect(200).has("It was cancelled").has("wrong input");

    let path = format!("/ui/operations/{id}/retry");
    let answer = server.send(&path, &[("token", &token)], "").await.expect(303);
    let again = next(&path, answer.header("location"));
    assert_ne!(again, shown);
    server.page(&again).await.expect(200).has("Retry of").has(&id).has(">x</pre>");
    let early = server.send(&format!("{again}/delete"), &[("token", &token)], "").await;
    early.expect(409).has("OPERATION_NOT_DONE");

    let path = format!("/ui/operations/{id}/delete");
    let answer = server.send(&path, &[("token", &token)], "").await.expect(303);
    assert_eq!(next(&path, answer.header("location")), "/ui/operations");
    server.page(&shown).await.expect(404);
    let long = "x".repeat(1_001);
    let path = format!("{again}/cancel");
    server.send(&path, &[("token", &token), ("reason", &long)], "").await.expect(400).has("reason");
}

#[tokio::test]
async fn an_operation_is_shared_and_the_share_revoked() {
    let server = Server::start(&["--handler", "ok=echo done"]).await;
    let id = server.submit_until("ok", "SUCCEEDED").await;
    server.page(&format!("/ui/operations/{id}")).await.expect(200).has("/shares\"");
    let path = format!("/ui/operations/{id}/shares");
    let token = server.page(&path).await.expect(200).has_not("lrs_").token();
    let wrong = server.send(&path, &[("token", &token), ("for", "0s")], "").await;
    wrong.expect(400).has("from 1 s to 366 days").has("value=\"0s\"");
    let wrong = server.send(&path, &[("token", &token), ("for", "soon")], "").await;
    wrong.expect(400).has("value=\"soon\"");

    let made = server.send(&path, &[("token", &token), ("for", "2h")], "").await.expect(200);
    let url = made.body.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
    let shared = &url[url.find("/v1/shares/lrs_").unwrap()..];
    server.page(shared).await.expect(303).has(&id).has("SUCCEEDED");
    let listed = server.page(&path).await.expect(200).has_not("lrs_");
    let revoke = listed.body.split("/revoke\"").next().unwrap().rsplit('"').next().unwrap();
    let revoke = format!("{path}/{}/revoke", revoke.rsplit('/').next().unwrap());
    let answer = server.send(&revoke, &[("token", &token)], "").await.expect(303);
    assert_eq!(next(&revoke, answer.header("location")), path);
    server.page(shared).await.expect(404);
    server.send(&revoke, &[("token", &token)], "").await.expect(404);
}

#[tokio::test]
async fn what_is_held_back_is_let_go() {
    let server = Server::start(&["--handler", "a=cat"]).await;
    let token = server.page("/ui/kinds").await.expect(200).has(">Pause</button>").token();
    let path = "/ui/kinds/a/pause";
    let answer = server.send(path, &[("token", &token)], "").await.expect(303);
    assert_eq!(next(path, answer.header("location")), "/ui/kinds");
    server.page("/ui/kinds").await.expect(200).has("paused").has(">Resume</button>");
    let id = server.submit("", json!({"kind": "a", "startIn": "3600s"})).await;
    let page = format!("/ui/operations/{id}");
    server.page(&page).await.expect(200).has(">Run now</button>");
    let path = format!("{page}/run-now");
    let answer = server.send(&path, &[("token", &token)], "").await.expect(303);
    assert_eq!(next(&path, answer.header("location")), page);
    let shown = server.page(&page).await.expect(200).has("the kind a is paused");
    shown.has("asked to run now").has_not(">Run now</button>");
    server.send("/ui/kinds/a/resume", &[("token", &token)], "").await.expect(303);
    server.until(&id, "SUCCEEDED").await;
    server.page("/ui/kinds").await.expect(200).has_not("paused").has("Took");
    // The same over the API.
    for (verb, is_paused) in [("pause", true), ("resume", false)] {
        let path = format!("/v1/kinds/a:{verb}");
        server.ask("POST", &path, &[], "").await.expect(204);
        let kinds = server.page("/v1/kinds").await.expect(200);
        let paused = "\"paused\":true";
        _ = if is_paused { kinds.has(paused) } else { kinds.has_not(paused) };
    }
    let (server, keys) = Server::start_for(&["read"], &["--handler", "a=cat"]).await;
    server.page_for(&keys[0], "/ui/kinds").await.expect(200).has_not(">Pause</button>");
}

#[tokio::test]
async fn changes_come_from_this_servers_own_pages() {
    let server = Server::start(&[]).await;
    let id = server.submit("", json!({"kind": "nobody"})).await;
    let token = server.page(&format!("/ui/operations/{id}")).await.token();
    let path = format!("/ui/operations/{id}/cancel");
    for wrong in ["", "0", &token[1..], "zz", &token.replace(&token[..1], "g")] {
        server.send(&path, &[("token", wrong)], "").await.expect(403).has("ORIGIN_REFUSED");
    }
    let body = format!("token={token}");
    for strangers in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        server.ask("POST", &path, &[strangers], &body).await.expect(403).has("ORIGIN_REFUSED");
        let live = server.ask("GET", "/ui/operations/live", &[strangers], "").await;
        live.expect(403);
    }
    server.page(&format!("/ui/operations/{id}")).await.expect(200).has("Queued");
    server.ask("POST", &path, &[("sec-fetch-site", "same-origin")], &body).await.expect(303);
}

#[tokio::test]
async fn many_are_counted_and_then_changed() {
    let server = Server::start(&[]).await;
    for number in 0..7 {
        let team = if number < 5 { "maps" } else { "tiles" };
        server.submit("", json!({"kind": "nobody", "labels": {"team": team}})).await;
    }
    let maps = encoded("labels.team=\"maps\"");
    let ask = async |verb: &str, filter: &str| {
        server.page(&format!("/ui/bulk?action={verb}&filter={filter}")).await.expect(200)
    };
    let asked = ask("cancel", &maps).await.has("Cancel 5 operations?");
    let (_, before) = asked.body.split_once("name=\"before\" value=\"").unwrap();
    let (before, token) = (before.split('"').next().unwrap().to_owned(), asked.token());
    let late = server.submit("", json!({"kind": "nobody", "labels": {"team": "maps"}})).await;
    let change = async |verb: &str, filter: &str| {
        let fields =
            [("token", &*token), ("action", verb), ("filter", filter), ("before", &*before)];
        server.send("/ui/bulk", &fields, "").await
    };
    change("cancel", "labels.team=\"maps\"").await.expect(200).has("5 operations told to stop");
    server.page(&format!("/ui/operations/{late}")).await.expect(200).has("Queued");
    ask("delete", "").await.has("Delete 5 operations?").has("All of them");
    ask("cancel", "").await.has("Cancel 3 operations?");
    change("retry", "labels.team=\"maps\"").await.expect(200).has("5 operations submitted again");
    change("delete", "").await.expect(200).has("5 operations deleted");
    ask("delete", "").await.has("Delete 0 operations?").has_not("class=\"danger\"");
    server.page("/ui/bulk?action=rob").await.expect(400).has("must be cancel, retry or delete");
    server.page("/ui/bulk?action=delete&filter=x)%20OR%20(done%3Dfalse").await.expect(400);
    let fields = [("token", &*token), ("action", "delete"), ("before", "soon")];
    server.send("/ui/bulk", &fields, "").await.expect(400).has("before");
}

#[tokio::test]
async fn a_form_starts_one() {
    let server = Server::start(&["--handler", "ok=cat"]).await;
    let token = server.page("/ui/start").await.expect(200).has("Max attempts").token();
    let json = "{\"a\": 1.10,\r\n\"b\": [12345678901234567890]}";
    let fields = [
        ("token", &*token),
        ("kind", "ok"),
        ("media_type", "application/json"),
        ("input", json),
        ("labels", "team = maps\r\n\r\nx\r\n"),
        ("priority", "7"),
        ("max_attempts", "2"),
        ("retention", "1h30m"),
        ("deadline", ""),
    ];
    let answer = server.send("/ui/start", &fields, "").await.expect(303);
    let id = answer.header("location").strip_prefix("operations/").unwrap().to_owned();
    server.until(&id, "SUCCEEDED").await;
    let page = server.page(&format!("/ui/operations/{id}")).await.expect(200);
    page.has("1.10,\n")
        .has("12345678901234567890")
        .has("<bdi>team</bdi>=<bdi>maps</bdi>")
        .has("1 h 30 m")
        .has("(1 of 2 counted)");
    let api = server.ask("GET", &format!("/v1/operations/{id}/input"), &[], "").await.expect(200);
    assert_eq!(api.body, json.replace("\r\n", "\n"));

    let wrong = [
        ("token", &*token),
        ("kind", "1 no"),
        ("media_type", "application/json"),
        ("input", "{"),
        ("labels", "A=1"),
        ("priority", "700"),
        ("deadline", "soon"),
        ("backoff_multiplier", "x"),
        ("start_in", "later"),
    ];
    let page = server
        .send("/ui/start", &wrong, "")
        .await
        .expect(400)
        .has("value=\"1 no\"")
        .has("value=\"700\"");
    for field in ["kind", "input", "priority", "deadline", "backoff_multiplier", "start_in"] {
        assert!(page.body.contains(&format!("<p><b>{field}</b>")), "{field} {}", page.body);
    }
}
