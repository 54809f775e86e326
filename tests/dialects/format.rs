//! What a file can say beyond operations at `{id}`: documents of the mount, lists, actions, and problems.

use longrun::config::file;
use longrun::worker::{Failure, Outcome};
use serde_json::{Value, json};

use crate::studio::{MOUNT, STUDIO, end, shoot, studio};

#[tokio::test]
async fn documents_of_the_mount_tell_what_was_asked() {
    let setup = studio().await;
    let headers = [("user-agent", "curl \"x\""), ("authorization", "Bearer secret")];
    for path in ["/v1/houses/a/", "/v1/houses/a"] {
        let answer = setup.ask("GET", &format!("{path}?q=%22%C3%A4&q=2"), &headers, "").await;
        let document = answer.expect(200).json();
        let expected = json!({
            "house": "a",
            "films": setup.url("/v1/houses/a/films"),
            "here": setup.url(path),
            "at": "/v1/houses/a",
            "asked": "\"\u{e4}",
            "agent": "curl \"x\"",
            "key": null,
            "path": format!("GET {path}"),
        });
        assert_eq!(document, expected);
    }
    let bare = setup.get("/v1/houses/a").await.expect(200);
    assert!(bare.json()["asked"].is_null() && !bare.headers.contains_key("x-asked"));
    setup.get("/v1/houses/a?q=%ff").await.expect(400);
}

#[tokio::test]
async fn lists_are_of_the_mount_and_its_places() {
    let setup = studio().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let genre = if n % 2 == 0 { "noir" } else { "western" };
        ids.push(shoot(&setup, &format!("/v1/houses/a/genres/{genre}/films"), &[]).await.0);
    }
    shoot(&setup, "/v1/houses/b/genres/noir/films", &[]).await;
    shoot(&setup, "/annex/a/films", &[]).await;
    ids.reverse();
    let films = |page: &Value| -> Vec<String> {
        let films = page["films"].as_array().expect("a list").iter();
        films.map(|film| film["film"].as_str().expect("an id").to_owned()).collect()
    };
    for (limit, sizes) in [("", &[3, 2][..]), ("&limit=2", &[2, 2, 1]), ("&limit=99", &[3, 2])] {
        let (mut found, mut after) = (Vec::new(), String::new());
        for size in sizes {
            let page = setup.get(&format!("/v1/houses/a/films?after={after}{limit}")).await;
            let page = page.expect(200).json();
            assert_eq!(films(&page).len(), *size, "{limit}");
            found.extend(films(&page));
            after = page["next"].as_str().unwrap_or_default().to_owned();
        }
        assert_eq!((found, after.as_str()), (ids.clone(), ""));
    }
    let one = setup.get("/v1/houses/b/films").await.expect(200).json();
    assert_eq!(films(&one).len(), 1);
    let url = one["films"][0]["url"].as_str().expect("a URL").to_owned();
    setup.get(&url).await.expect(200);
    let western = setup.get("/v1/houses/a/films?kind=film.western").await.expect(200).json();
    assert_eq!(films(&western).len(), 2);
    // No value leads out of its quotes, and no filter out of the mount.
    for odd in ["%22%20OR%20kind%3D%22film.noir", "*", "film.*", "%5C", "%22)%20OR%20(done=false"] {
        let page = setup.get(&format!("/v1/houses/a/films?kind={odd}")).await.expect(200).json();
        assert_eq!(films(&page).len(), 0, "{odd}");
    }
    for out in ["x%20OR%20done=false", "queued)%20OR%20(done=false"] {
        let page = setup.get(&format!("/v1/houses/c/films?state={out}")).await;
        assert!(page.status == 400 || films(&page.json()).is_empty(), "{page:?}");
    }
    for bad in ["limit=x", "limit=0", "limit=-1", "after=x", "state=none"] {
        setup.get(&format!("/v1/houses/a/films?{bad}")).await.expect(400);
    }
    let token = setup.get("/v1/houses/a/films").await.json()["next"].as_str().map(str::to_owned);
    let token = token.expect("a token");
    setup.get(&format!("/v1/houses/b/films?after={token}")).await.expect(400);
}

#[tokio::test]
async fn the_request_that_became_the_operation_can_be_told() {
    let setup = studio().await;
    let path = "/v1/houses/a/genres/noir/films?cut=%22long%22&cut=2";
    let headers = [("x-lens", "50 \"mm\""), ("authorization", "Bearer secret"), ("x-other", "y")];
    let body = r#"{"title": "Rain", "crew": {"director": "\"D\""}}"#;
    let made = setup.ask("POST", path, &headers, body).await.expect(201).json();
    let id = made["film"].as_str().expect("an id").to_owned();
    let film = setup.get(&format!("/v1/houses/a/films/{id}")).await.expect(200).json();
    assert_eq!(film["director"], "\"D\"");
    assert_eq!((&film["cut"], &film["lens"]), (&json!("\"long\""), &json!("50 \"mm\"")));
    assert!(film["secret"].is_null() && film["kept_until"].is_null(), "{film}");
    // What no template uses is not kept.
    let work = setup.work().await;
    let kept = &work.context.input().http().expect("a request").headers;
    assert!(kept.iter().all(|header| header.name == "x-lens"), "{kept:?}");
    let _ = work.end.send(Ok(Outcome::json(&json!({"min": 90})).expect("JSON")));
    let url = format!("/v1/houses/a/films/{id}");
    let film = setup.ask("GET", &url, &[("prefer", "wait=10")], "").await.expect(200).json();
    assert_eq!(film["reel"], json!({"min": 90}));
    assert!(film["kept_until"].as_str().expect("a time").ends_with('Z'), "{film}");
    // Bodies that are no JSON, or have no such members, are nothing to tell of.
    for odd in ["no JSON", "[]", r#"{"crew": 7}"#, ""] {
        let made = setup.ask("POST", path, &[], odd).await.expect(201).json();
        let id = made["film"].as_str().expect("an id").to_owned();
        let film = setup.get(&format!("/v1/houses/a/films/{id}")).await.expect(200).json();
        assert!(film["title"].is_null() && film["director"].is_null(), "{film}");
        setup.work().await;
    }
}

#[tokio::test]
async fn a_large_result_is_a_link_that_works() {
    let setup = studio().await;
    let (id, _) = shoot(&setup, "/v1/houses/a/genres/noir/films", &[]).await;
    let large = json!({"frames": "x".repeat(93 << 10)});
    end(&setup, &id, Ok(Outcome::json(&large).expect("JSON"))).await;
    let film = setup.get(&format!("/v1/houses/a/films/{id}")).await.expect(200).json();
    let reel = setup.get(film["reel"].as_str().expect("a URL")).await.expect(200);
    assert_eq!(reel.json(), large);
}

#[tokio::test]
async fn one_method_stops_what_runs_and_removes_what_is_done() {
    let setup = studio().await;
    let (id, _) = shoot(&setup, "/v1/houses/a/genres/noir/films", &[]).await;
    let work = setup.work().await;
    let url = format!("/v1/houses/a/films/{id}");
    let dismissed = setup.ask("DELETE", &url, &[], "").await.expect(200).json();
    assert_eq!(dismissed, json!({"film": id, "was": "running", "dismissed": "cancelled"}));
    work.context.cancelled().await;
    let _ = work.end.send(Err(Failure::permanent("STOPPED", "stopped")));
    let stopped = setup.ask("GET", &url, &[("prefer", "wait=10")], "").await.expect(424).json();
    assert_eq!(stopped["state"], "stopped");
    let dismissed = setup.ask("DELETE", &url, &[], "").await.expect(200).json();
    assert_eq!(dismissed, json!({"film": id, "was": "stopped", "dismissed": "deleted"}));
    setup.get(&url).await.expect(404);
    setup.ask("DELETE", &url, &[], "").await.expect(404);
}

#[tokio::test]
async fn a_retry_is_a_new_operation_of_the_same_mount() {
    let setup = studio().await;
    let (id, _) = shoot(&setup, "/v1/houses/a/genres/noir/films", &[]).await;
    let url = format!("/v1/houses/a/films/{id}");
    let refused = setup.ask("POST", &format!("{url}:again"), &[], "").await.expect(409).json();
    assert_eq!(refused["trouble"], "OPERATION_NOT_DONE");
    end(&setup, &id, Err(Failure::permanent("JAM", "torn"))).await;
    // The status is made by a template.
    setup.get(&url).await.expect(424);
    let key = [("idempotency-key", "again")];
    let again = setup.ask("POST", &format!("{url}:again"), &key, "").await.expect(201);
    let new = again.json()["film"].as_str().expect("an id").to_owned();
    assert_ne!(new, id);
    assert_eq!(again.header("location"), setup.url(&format!("/v1/houses/a/films/{new}")));
    let twice = setup.ask("POST", &format!("{url}:again"), &key, "").await.expect(201);
    assert_eq!(twice.json()["film"], new.as_str());
    let film = setup.get(again.header("location")).await.expect(200).json();
    assert_eq!((&film["title"], &film["genre"]), (&json!("Rain"), &json!("noir")));
    end(&setup, &new, Ok(Outcome::empty())).await;
}

#[tokio::test]
async fn every_refusal_under_the_mount_is_in_its_words() {
    let setup = studio().await;
    let id = shoot(&setup, "/v1/houses/a/genres/noir/films", &[]).await.0;
    let foreign = [("origin", "https://evil.example")];
    let host = [("host", "evil.example")];
    let film = format!("/v1/houses/a/films/{id}");
    let long = format!("/v1/houses/a?{}", "x".repeat(17 << 10));
    for (method, path, headers, status, reason) in [
        ("GET", "/v1/houses/a/films/nonesuch", &[][..], 404, "OPERATION_NOT_FOUND"),
        ("GET", "/v1/houses/a/nothing/here", &[], 404, "ROUTE_NOT_FOUND"),
        ("PUT", &film, &[], 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1/houses/a/genres/noir/films", &foreign, 403, "ORIGIN_REFUSED"),
        ("POST", "/v1/houses/a/nothing/here", &foreign, 404, "ROUTE_NOT_FOUND"),
        ("GET", &film, &host, 421, "HOST_REFUSED"),
        ("GET", &long, &[], 414, "URI_TOO_LONG"),
        ("GET", "/v1/houses/a?q=%ff", &[], 400, "INVALID_ARGUMENT"),
    ] {
        let refused = setup.ask(method, path, headers, "").await.expect(status);
        let document = refused.json();
        assert_eq!((&document["trouble"], &document["status"]), (&json!(reason), &json!(status)));
        assert_eq!(document["house"], "a", "{method} {path}");
        let help = document["help"].as_str().expect("a link");
        assert!(help.ends_with("/v1/houses/a/"), "{help}");
        assert_eq!(refused.header("longrun-error-source"), "gateway");
        if status == 405 {
            assert_eq!(document["allow"], "GET,HEAD,DELETE,OPTIONS");
        }
    }
    let head = setup.ask("HEAD", "/v1/houses/a/nothing", &[], "").await.expect(404);
    assert!(head.body.is_empty());
    // What is the server's own stays so.
    let own = setup.get("/v1/nothing").await.expect(404);
    assert_eq!(own.header("content-type"), "application/problem+json");
}

#[test]
fn what_does_not_fit_is_refused_at_start() {
    let files = |name: &str| match name {
        "studio.toml" => Ok(STUDIO.to_owned()),
        _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
    };
    for (from, to, reason) in [
        ("/v1/houses/{house}", "/v1/houses/{genre}", "prefix must not have a name"),
        ("/v1/houses/{house}", "/v1/houses/x", "places.house"),
        ("/v1/houses/{house}", "/v1/houses/{id}", "no name in it may be {id}"),
        ("film.{genre}", "film.{gender}", "kind may have in braces"),
        ("film.{genre}", "film noir.{genre}", "kind must be"),
        ("\"film.noir\"", "\"film noir\"", "a kind must be"),
        ("kind = \"short\"", "kind = \"short\"\nkinds = [\"a\"]", "kinds is for a kind"),
        ("name = \"annex\"", "name = \"annex\"\nshare = \"anyone\"", "share must be"),
        ("name = \"annex\"", "name = \"annex\"\nwait = \"soon\"", "wait must be"),
        ("/annex/{house}", "/v1/houses/{house}", "could be"),
    ] {
        assert!(MOUNT.contains(from), "{from}");
        let said = file::parse(&MOUNT.replacen(from, to, 1), &files).expect_err(to).to_string();
        assert!(said.contains(reason), "not {reason}: {said}");
    }
    for (from, to, reason) in [
        ("film-{hex}", "film/{hex}", "id must be"),
        (
            "/reel\"\n",
            "/reel\"\n[route.list]\nmax_page_size = 1\n",
            "list is for routes without {id}",
        ),
        ("path = \"/\"", "path = \"/\"\naction = \"cancel\"", "action is for routes with {id}"),
        ("action = \"retry\"", "action = \"redo\"", "action must be"),
        ("424 if error else 200", "99 if error else 200", "the status must be from 200"),
        ("424 if error else 200", "'x'", "the status must be from 200"),
        ("max_page_size = 3", "max_page_size = 0", "max_page_size must be"),
        ("filter = \"", "filter = \"state is \\\"x\\\" \\n", "the filter is wrong"),
        ("call.parameters.limit", "call.parametres.limit", "no variable call.parametres"),
        ("\"films\": {{ links.films }}", "\"films\": {{ links.film }}", "no variable links.film"),
        ("\"here\": {{ links.self }}", "\"here\": {{ id }}", "no variable id"),
        ("[wait]\nprefer = true", "[wait]\ndefault = \"9s\"", "wait must have"),
        ("\"trouble\": {{ problem.reason }}", "\"trouble\": {{ kind }}", "no variable kind"),
    ] {
        assert!(STUDIO.contains(from), "{from}");
        let said = longrun::dialect::Dialect::parse(&STUDIO.replacen(from, to, 1));
        let said = said.expect_err(to).to_string();
        assert!(said.contains(reason), "not {reason}: {said}");
    }
}
