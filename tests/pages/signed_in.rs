//! Who sees what: each page as each role, without credentials, and with bad ones.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::Server;

const ROLES: [&str; 5] = ["submit", "read", "work", "admin", "operator"];

#[tokio::test]
async fn each_page_is_for_the_roles_that_stand_here() {
    let (server, keys) = Server::start_for(&ROLES, &[]).await;
    let id =
        server.submit(&keys[0], json!({"kind": "nobody", "input": {"text": "tell-nobody"}})).await;
    let one = format!("operations/{id}");
    let input = format!("{one}/input");
    let readers: &[&str] = &["read", "admin", "operator"];
    for (page, roles) in [
        ("operations", readers),
        (&*one, readers),
        ("kinds", readers),
        ("workers", readers),
        ("system", readers),
        (&*input, &["read", "admin"]),
        ("start", &["submit", "admin"]),
        ("bulk?action=cancel", &["admin"]),
    ] {
        for (role, key) in ROLES.iter().zip(&keys) {
            let answer = server.page_for(key, &format!("/ui/{page}")).await;
            let expected = if roles.contains(role) { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{page} as {role}: {}", answer.body);
            // Contents are shown to their readers alone.
            let shows = answer.body.contains("tell-nobody");
            let is_shown = (page == one || page == input) && ["read", "admin"].contains(role);
            assert_eq!(shows, is_shown, "{page} as {role}");
            // What a role may not do is not offered.
            let can_change = answer.body.contains("Cancel the operation");
            assert_eq!(can_change, page == one && *role == "admin", "{page} as {role}");
            let leads_to_kinds = answer.body.contains("kinds\">Kinds</a>")
                || answer.body.contains("aria-current=\"page\">Kinds</a>");
            // A page that says why it is not shown leads to those that are.
            let is_page = answer.header("content-type").starts_with("text/html");
            assert_eq!(leads_to_kinds, is_page && readers.contains(role), "{page} as {role}");
            assert!(!answer.body.contains(">Sign in<"), "{page} as {role}");
        }
        let asked = server.page(&format!("/ui/{page}")).await.expect(303);
        let next = crate::support::encoded(page);
        let root = "../".repeat(page.split('?').next().unwrap().matches('/').count());
        assert_eq!(asked.header("location"), format!("{root}sign-in?next={next}"), "{page}");
    }
    for live in
        ["operations/live", "kinds/live", "workers/live", "system/live", &format!("{one}/live")]
    {
        server.page(&format!("/ui/{live}")).await.expect(401);
        server.page_for(&keys[0], &format!("/ui/{live}")).await.expect(403);
        let cookie = format!("longrun_key={}", keys[1]);
        server.stream(&format!("/ui/{live}"), &cookie, "event: news").await;
    }
    let token = server.page_for(&keys[3], &format!("/ui/{one}")).await.token();
    let cookie = |key: &str| format!("longrun_key={key}");
    let cancel = format!("/ui/{one}/cancel");
    // A form is for whom it was made.
    let fields = [("token", &*token)];
    server.send(&cancel, &fields, &cookie(&keys[0])).await.expect(403).has("ORIGIN_REFUSED");
    server.send(&cancel, &fields, &cookie(&keys[1])).await.expect(403).has("PERMISSION_DENIED");
    server.send(&cancel, &fields, "").await.expect(401);
    server.send(&cancel, &fields, &cookie(&keys[3])).await.expect(303);
}

#[tokio::test]
async fn each_role_is_led_to_pages_that_it_may_see() {
    let (server, keys) = Server::start_for(&ROLES, &["--handler", "ok=cat"]).await;
    let id = server.submit(&keys[3], json!({"kind": "ok", "input": {"text": "one"}})).await;
    let bearer = format!("Bearer {}", keys[3]);
    let path = format!("/v1/operations/{id}?wait=30s");
    server.ask("GET", &path, &[("authorization", &bearer)], "").await.expect(303);
    server.submit(&keys[3], json!({"kind": "nobody", "labels": {"team": "maps"}})).await;
    let token = server.page("/ui/sign-in").await.expect(200).token();
    for (role, key) in ROLES.iter().zip(&keys) {
        let sign_in = async |next: &str| {
            let fields = [("token", &*token), ("key", key), ("next", next)];
            server.send("/ui/sign-in", &fields, "").await
        };
        let (home, webhooks) = match *role {
            "submit" => ("start", "start"),
            "read" => ("operations", "operations"),
            "work" => {
                let refused = sign_in("").await.expect(403).has("no pages for the role work");
                assert_eq!(refused.header("set-cookie"), "");
                continue;
            }
            _ => ("operations", "webhooks"),
        };
        for (next, expected) in [("", home), ("operations", home), ("webhooks", webhooks)] {
            let led = sign_in(next).await.expect(303);
            assert_eq!(led.header("location"), expected, "{role} from {next:?}");
        }
        assert_eq!(server.page_for(key, "/ui/").await.expect(303).header("location"), home);
        follow_links(&server, role, key).await;
    }
    // The cookie is not sent for `/`, and what may be seen without one is not known yet.
    assert_eq!(server.page("/").await.expect(303).header("location"), "ui/");
    assert_eq!(server.page("/ui/").await.expect(303).header("location"), "operations");
}

/// Every link on the pages that a role is led to is for that role.
async fn follow_links(server: &Server, role: &str, key: &str) {
    let base = reqwest::Url::parse(&server.url).unwrap();
    let (mut next, mut known) = (vec![base.join("/ui/").unwrap()], BTreeSet::new());
    while let Some(url) = next.pop() {
        let path = url.as_str().strip_prefix(&server.url).expect("a path here");
        let answer = server.page_for(key, path).await;
        assert!(answer.status < 400, "{role} is led to {path}: {}", answer.body);
        let body = match answer.status {
            303 => format!("<a href=\"{}\"", answer.header("location")),
            _ => answer.body.clone(),
        };
        let links = body.split("<a ").skip(1).filter_map(|it| it.split("href=\"").nth(1));
        for link in links.filter_map(|it| it.split('"').next()) {
            let there = url.join(&link.replace("&amp;", "&")).unwrap();
            // One filter or view is as good as another.
            let action = there.query_pairs().find(|(name, _)| name == "action");
            let place = format!("{} {action:?}", there.path());
            if there.origin() == base.origin() && known.insert(place) {
                next.push(there);
            }
        }
    }
    let is_known = |end: &str| known.iter().any(|it| it.contains(end));
    assert_eq!(is_known("/kinds"), role != "submit", "{role}: {known:?}");
    assert_eq!(is_known("/result"), ["read", "admin"].contains(&role), "{role}: {known:?}");
}

#[tokio::test]
async fn signing_in_is_offered_where_one_can() {
    let (server, keys) = Server::start_for(&ROLES, &[]).await;
    let stranger = server.page("/ui/nothing").await.expect(404);
    stranger.has("sign-in\">Sign in</a>").has_not(">Kinds</a>").has_not("Sign out");
    let reader = server.page_for(&keys[1], "/ui/nothing/at/all").await.expect(404);
    reader.has("href=\"../../kinds\">Kinds</a>").has("Sign out").has_not(">Sign in<");
    let open = Server::start(&[]).await;
    let anyone = open.page("/ui/nothing").await.expect(404);
    anyone.has("href=\"start\">Start one</a>").has(">Webhooks</a>").has_not(">Sign in<");
}

#[tokio::test]
async fn a_key_signs_in_and_out() {
    let (server, keys) = Server::start_for(&ROLES, &[]).await;
    let form = server
        .page("/ui/sign-in?next=kinds")
        .await
        .expect(200)
        .has("name=\"next\" value=\"kinds\"");
    let token = form.token();
    let sign_in = async |key: &str, next: &str| {
        let fields = [("token", &*token), ("key", key), ("next", next)];
        server.send("/ui/sign-in", &fields, "").await
    };
    // No key has a 1: whatever the last character was, this is another.
    let wrong = format!("{}1", &keys[1][..keys[1].len() - 1]);
    for bad in ["", "lr_no", "a b", &*wrong, "ü"] {
        let refused = sign_in(bad, "kinds").await.expect(401);
        assert_eq!(refused.header("set-cookie"), "");
        assert!(bad.is_empty() || !refused.body.contains(bad), "the key is shown again");
    }
    let answer = sign_in(&format!(" {} ", keys[1]), "kinds").await.expect(303);
    assert_eq!(answer.header("location"), "kinds");
    let cookie = answer.header("set-cookie");
    assert_eq!(cookie, format!("longrun_key={}; HttpOnly; SameSite=Strict", keys[1]));
    assert_eq!(sign_in(&keys[1], "//evil.example").await.header("location"), "operations");
    let cookie = format!("longrun_key={}", keys[1]);
    let fields = [("token", "no")];
    server.send("/ui/sign-in", &fields, "").await.expect(403);

    let page = server.page_for(&keys[1], "/ui/kinds").await.expect(200).has("Sign out").has("read");
    let fields = [("token", &*page.token())];
    let out = server.send("/ui/sign-out", &fields, &cookie).await.expect(303);
    assert!(
        out.header("set-cookie").starts_with("longrun_key=; ")
            && out.header("set-cookie").contains("Max-Age=0")
    );

    let bad = server.page_for("lr_revoked", "/ui/kinds").await.expect(303);
    assert_eq!(bad.header("location"), "sign-in?next=kinds&expired=1");
    server.page("/ui/sign-in?next=kinds&expired=1").await.expect(200).has("no longer good");

    // The cookie is for pages alone.
    let headers = [("cookie", &*cookie), ("accept", "application/json")];
    server.ask("GET", "/v1/operations", &headers, "").await.expect(401);
    // Whoever comes by another site's link has not sent it, and asks again from here.
    let cross = [("sec-fetch-site", "cross-site"), ("accept", "text/html")];
    let again = server.ask("GET", "/ui/kinds", &cross, "").await.expect(200);
    assert_eq!(again.header("refresh"), "0");

    let open = Server::start(&[]).await;
    assert_eq!(open.page("/ui/sign-in?next=kinds").await.expect(303).header("location"), "kinds");
    open.page("/ui/operations").await.expect(200).has_not("Sign out");
}
