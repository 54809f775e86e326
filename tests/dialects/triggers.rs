//! What makes an operation of a request, and how long its answer is held.

use longrun::worker::Outcome;
use serde_json::json;

use crate::studio::{MOUNT, STUDIO};
use crate::support::Setup;

const TWO: &str = r#"
[[relay]]
name = "api"
prefix = "/api"
upstream = "http://UPSTREAM/v1"

[[dialect]]
file = "always.toml"
prefix = "/api"
relay = "api"

[[dialect]]
use = "async-parameter"
prefix = "/api"
relay = "api"
"#;

#[tokio::test]
async fn a_submission_is_held_for_its_end_where_the_client_or_the_mount_asks() {
    let held = MOUNT.replacen("prefix = \"/annex", "wait = \"20s\"\nprefix = \"/annex", 1);
    let setup = Setup::new(&held, &[("studio.toml", STUDIO)]).await;
    let noir = "/v1/houses/a/genres/noir/films";
    let wait = ("prefer", "wait=20");
    for (path, headers, expected) in [
        (noir, &[wait][..], "{\"min\":90}"),
        ("/annex/a/films", &[], "{\"min\":90}"),
        (noir, &[wait, ("x-raw", "1")], "raw"),
    ] {
        let asked = setup.ask("POST", path, headers, r#"{"title": "Rain"}"#);
        let done = async {
            let work = setup.work().await;
            let _ = work.end.send(Ok(Outcome::json(&json!({"min": 90})).expect("JSON")));
        };
        let (answer, ()) = tokio::join!(asked, done);
        let answer = answer.expect(200);
        if expected == "raw" {
            assert_eq!(answer.json(), json!({"min": 90}));
        } else {
            assert_eq!(answer.json()["made"].to_string(), expected);
        }
        let applied = if headers.is_empty() { "" } else { "wait=20" };
        assert_eq!(answer.header("preference-applied"), applied);
        assert!(answer.header("vary").contains("prefer"));
    }
    // Not for long enough, not at all, or not wanted.
    for (path, headers) in [
        (noir, &[("prefer", "wait=0")][..]),
        (noir, &[]),
        ("/annex/a/films", &[("prefer", "respond-async")]),
    ] {
        setup.ask("POST", path, headers, "").await.expect(201);
        setup.work().await;
    }
}

#[tokio::test]
async fn two_dialects_over_one_relay_each_have_their_requests() {
    let always = format!(
        "{}\n[trigger]\nalways = true\nmethods = [\"POST\"]\npaths = [\"/$export\", \"/groups/{{group}}/$export\"]\n",
        STUDIO.split("[states]").next().expect("a head")
    );
    let rest = STUDIO.split_once("[states]").expect("states").1;
    let always =
        format!("{always}[states]{rest}").replace("/genres/{genre}/films", "/groups/{group}/films");
    let always = always.replace("places.genre", "places.group").replace("links.of_genre", "id");
    let always = always.replace("places.house", "mount.name");
    let setup = Setup::new(TWO, &[("always.toml", &always)]).await;
    let taken = setup.ask("POST", "/api/groups/7/$export?x=1", &[], "").await.expect(201).json();
    let call = setup.call().await;
    assert_eq!(call.target, "/v1/groups/7/$export?x=1");
    call.answer(200, "text/plain", "exported");
    let film = taken["film"].as_str().expect("an id");
    let reel = format!("/api/films/{film}/reel");
    let reel = setup.ask("GET", &reel, &[("prefer", "wait=10")], "").await.expect(200);
    assert_eq!(reel.body, "exported");
    let seen = setup.get(&format!("/api/films/{film}")).await.expect(200).json();
    assert_eq!(seen["genre"], "7");
    setup.get(&format!("/api/groups/8/films/{film}")).await.expect(404);
    setup.get(&format!("/api/groups/7/films/{film}")).await.expect(200);
    // The other dialect's, which is a parameter.
    let taken = setup.ask("POST", "/api/things?async=true&x=1", &[], "").await.expect(202);
    assert_eq!(taken.json(), json!({"progress": "queued"}));
    let call = setup.call().await;
    assert_eq!(call.target, "/v1/things?x=1");
    call.answer(201, "text/plain", "made");
    let made = setup.ask("GET", taken.header("location"), &[("prefer", "wait=10")], "").await;
    assert_eq!(made.expect(201).body, "made");
    // And what is neither's passes through.
    let passing = setup.ask("GET", "/api/$export", &[], "");
    let (answer, ()) = tokio::join!(passing, async {
        setup.call().await.answer(200, "text/plain", "as it is");
    });
    assert_eq!(answer.expect(200).body, "as it is");
}

#[tokio::test]
async fn a_submission_may_be_a_get() {
    let config = MOUNT.replace("path = \"/films\"", "method = \"GET\"\npath = \"/shoot\"");
    let setup = Setup::new(&config, &[("studio.toml", STUDIO)]).await;
    let taken = setup.get("/annex/a/shoot?scene=1").await.expect(201);
    assert_eq!(setup.work().await.context.input().http().expect("a request").method, "GET");
    setup.get(taken.header("location")).await.expect(200);
    // An operation comes to be whatever the method, so pages of other sites are refused all the same.
    let origin = [("origin", "https://evil.example")];
    setup.ask("GET", "/annex/a/shoot", &origin, "").await.expect(403);
    setup.ask("GET", taken.header("location"), &origin, "").await.expect(200);
}
