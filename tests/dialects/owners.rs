//! Whose operations are: the credentials that they came with, unless they are shared on purpose.

use crate::support::Setup;

const OURS: (&str, &str) = ("authorization", "Bearer our-very-own-secret");
const THEIRS: (&str, &str) = ("authorization", "Bearer another");

/// A request of ours that has become an operation: its id as the dialect has it, and as the service has it.
async fn submit(setup: &Setup, path: &str) -> (String, String) {
    let answer = setup.ask("GET", path, &[OURS], "").await.expect(200);
    let rid = answer.json()["request"].as_str().expect("an id").to_owned();
    setup.call().await.answer(200, "text/plain", "ours");
    let url = format!("/bgrs/{rid}/result");
    setup.ask("GET", &url, &[OURS, ("prefer", "wait=10")], "").await.expect(200);
    let uuid = [&rid[..8], &rid[8..12], &rid[12..16], &rid[16..20], &rid[20..]].join("-");
    (rid, uuid)
}

#[tokio::test]
async fn what_is_ours_is_nobody_elses_in_any_way() {
    let mut setup = Setup::five().await;
    let (rid, uuid) = submit(&setup, "/v2.5/users/me?bgrs=1").await;
    for round in 0..2 {
        for path in ["", "/details", "/result"] {
            let path = format!("/bgrs/{rid}{path}");
            setup.ask("GET", &path, &[OURS], "").await.expect(200);
            setup.ask("GET", &path, &[THEIRS], "").await.expect(404);
            setup.ask("GET", &path, &[], "").await.expect(401);
            setup.ask("GET", &path, &[OURS, THEIRS], "").await.expect(401);
        }
        // The service's own API has no say in it either.
        for path in ["", "/status", "/result", "/events", "?wait=1"] {
            setup.get(&format!("/v1/operations/{uuid}{path}")).await.expect(404);
        }
        setup.ask("POST", &format!("/v1/operations/{uuid}:cancel"), &[], "").await.expect(404);
        setup.ask("POST", &format!("/v1/operations/{uuid}:retry"), &[], "").await.expect(404);
        setup.ask("DELETE", &format!("/v1/operations/{uuid}"), &[], "").await.expect(404);
        for filter in ["", "?filter=kind%3Drelay.bear", "?filter=labels:longrun/owner"] {
            let list = setup.get(&format!("/v1/operations{filter}")).await.expect(200);
            assert_eq!(list.json()["operations"], serde_json::json!([]), "{filter}");
        }
        if round == 0 {
            setup.crash().await;
        }
    }
}

#[tokio::test]
async fn a_large_body_of_ours_reaches_the_upstream() {
    let setup = Setup::five().await;
    let body = "ours ".repeat(100_000);
    let answer = setup.ask("POST", "/v2.5/files?bgrs=1", &[OURS], body.clone()).await;
    let rid = answer.expect(200).json()["request"].as_str().expect("an id").to_owned();
    let call = setup.call().await;
    assert!(call.body == body, "{} bytes came", call.body.len());
    call.answer(200, "text/plain", "taken");
    let url = format!("/bgrs/{rid}/result");
    setup.ask("GET", &url, &[OURS, ("prefer", "wait=10")], "").await.expect(200);
}

#[tokio::test]
async fn what_is_shared_is_for_all_who_have_credentials() {
    let setup = Setup::five().await;
    let (rid, uuid) = submit(&setup, "/v2.5/users/me?a=1&bgrs=1&bgrs_share=1").await;
    for path in ["", "/details", "/result"] {
        setup.ask("GET", &format!("/bgrs/{rid}{path}"), &[THEIRS], "").await.expect(200);
        setup.ask("GET", &format!("/bgrs/{rid}{path}"), &[], "").await.expect(401);
    }
    setup.get(&format!("/v1/operations/{uuid}")).await.expect(404);
    let name = setup.ask("GET", &format!("/bgrs/{rid}"), &[THEIRS], "").await.json();
    assert_eq!(name[0]["name"], "/v2.5/users/me?a=1&bgrs=1");
}

#[tokio::test]
async fn the_api_gets_neither_the_trigger_nor_the_wish_to_share() {
    let setup = Setup::five().await;
    let path = "/v2.5/users/me?bgrs_share=1&t=csv&bgrs=yes";
    setup.ask("GET", path, &[OURS], "").await.expect(200);
    let call = setup.call().await;
    assert_eq!(call.target, "/v2.5/users/me?t=csv");
    assert_eq!(call.headers["authorization"], OURS.1);
    // Other values are no trigger, and what is the API's own is left alone.
    let passing = setup.ask("GET", "/v2.5/x?bgrs=no&bgrs_share=1", &[], "");
    let answered = async { setup.call().await };
    let (answer, call) = tokio::join!(passing, async {
        let call = answered.await;
        let target = call.target.clone();
        call.answer(200, "text/plain", "");
        target
    });
    answer.expect(200);
    assert_eq!(call, "/v2.5/x?bgrs=no&bgrs_share=1");
}

#[tokio::test]
async fn a_key_of_ours_is_not_a_key_of_theirs() {
    let setup = Setup::five().await;
    let key = ("idempotency-key", "\"monday\"");
    let mut ids = Vec::new();
    for who in [OURS, OURS, THEIRS] {
        let answer = setup.ask("GET", "/v2.5/users/me?bgrs=1", &[who, key], "").await.expect(200);
        ids.push(answer.json()["request"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    setup.ask("GET", "/v2.5/other?bgrs=1", &[OURS, key], "").await.expect(422);
    setup.ask("GET", "/v2.5/users/me?bgrs=1", &[], "").await.expect(401);
}

#[tokio::test]
async fn no_credentials_are_kept() {
    let config = crate::support::FIVE.replace("headers.credentials = [\"authorization\"]", "");
    let setup = Setup::new(&config, &[]).await;
    submit(&setup, "/v2.5/users/me?bgrs=1").await;
    for entry in std::fs::read_dir(setup.directory.path()).expect("a directory") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("a file");
        let secret = b"our-very-own-secret";
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn nobody_can_give_marks_or_see_them() {
    let setup = Setup::five().await;
    let json = ("content-type", "application/json");
    for key in ["longrun/owner", "longrun/mount"] {
        let body = serde_json::json!({"kind": "a", "labels": {key: "x"}}).to_string();
        let refused = setup.ask("POST", "/v1/operations", &[json], body).await.expect(400);
        assert!(refused.json()["detail"].as_str().expect("a text").contains("service's own"));
    }
    let submit = "/api/management-server/fileshares";
    let job = setup.ask("POST", submit, &[], "").await.expect(202).json();
    let id = job["key"].as_str().expect("an id");
    let status = setup.get(&format!("/v1/operations/{id}")).await.expect(202);
    assert!(!String::from_utf8_lossy(&status.body).contains("longrun/"), "{:?}", status.body);
    let work = setup.work().await;
    assert!(work.context.labels().is_empty());
}
