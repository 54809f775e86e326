//! Results in the built-in dialects: within the document up to the inline limit, and beyond it by a link that works.

use longrun::worker::{Failure, Outcome, Problem};
use serde_json::json;

use crate::support::{FIVE, Setup};

const SETS: &str = "/v1/accounts/2ce1a86e-7331-4542-b1f8-085ac1225cff/sets/7/devices";
const SHARES: &str = "/api/management-server/fileshares";

/// Submits, ends the work, and returns the document in the end.
async fn ended(setup: &Setup, path: &str, end: Result<Outcome, Failure>) -> serde_json::Value {
    let taken = setup.ask("POST", path, &[], "").await.expect(202);
    let early = format!("{}/result", taken.header("location"));
    setup.get(&early).await.expect(409);
    let _ = setup.work().await.end.send(end);
    let wait = [("prefer", "wait=10")];
    setup.ask("GET", taken.header("location"), &wait, "").await.expect(200).json()
}

#[tokio::test]
async fn what_does_not_fit_into_a_document_is_a_link_that_works() {
    let setup = Setup::five().await;
    let large = json!({"frames": "x".repeat(93 << 10)});
    let csv = || Ok(Outcome::bytes("text/csv", "a,b\n1,2\n"));
    let json = || Ok(Outcome::json(&large).expect("JSON"));
    for (path, link) in [(SETS, "/resultLocation"), (SHARES, "/_links/result/href")] {
        let document = ended(&setup, path, csv()).await;
        let url = document.pointer(link).and_then(|url| url.as_str()).expect("a link");
        let answer = setup.get(url).await.expect(200);
        assert_eq!(
            (answer.header("content-type"), &answer.body[..]),
            ("text/csv", &b"a,b\n1,2\n"[..])
        );
        let document = ended(&setup, path, json()).await;
        let url = document.pointer(link).and_then(|url| url.as_str()).expect("a link");
        assert_eq!(setup.get(url).await.expect(200).json(), large);
        // None is none.
        let document = ended(&setup, path, Ok(Outcome::empty())).await;
        assert!(document.pointer(link).is_none(), "{document}");
    }
}

#[tokio::test]
async fn a_bulk_operation_shows_all_its_errors() {
    let setup = Setup::five().await;
    let error = |n: u32| Problem::new(format!("E{n}"), format!("error {n}"));
    let causes = error(1).with_cause(error(2)).with_cause(error(3));
    let outcome = Outcome::empty().with_error(causes).with_error(error(4));
    let document = ended(&setup, SETS, Ok(outcome)).await;
    let messages = |list: &serde_json::Value| -> Vec<String> {
        let errors = list.as_array().expect("a list").iter();
        errors.map(|error| error["message"].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(messages(&document["errors"]), ["error 1", "error 4"]);
    assert_eq!(document["error"], document["errors"][0]);
    assert_eq!(messages(&document["error"]["causes"]), ["error 2", "error 3"]);
    assert_eq!(document["error"]["details"], document["error"]["causes"][0]);
}

#[tokio::test]
async fn a_mount_may_take_its_documents_own_rule_of_sharing() {
    let config = FIVE.replace("prefix = \"/\"\nrelay", "prefix = \"/\"\nshare = \"anyone\"\nrelay");
    let setup = Setup::new(&config, &[]).await;
    let (ours, theirs) = (("authorization", "Bearer a"), ("authorization", "Bearer b"));
    let taken = setup.ask("GET", "/v2.5/users/me?bgrs=1", &[ours], "").await.expect(200);
    setup.call().await.answer(200, "text/csv", "a,b");
    let url = format!("/bgrs/{}/result", taken.json()["request"].as_str().expect("an id"));
    let result = setup.ask("GET", &url, &[theirs, ("prefer", "wait=10")], "").await.expect(200);
    assert_eq!(result.body, "a,b");
    setup.get(&url).await.expect(401);
}

#[tokio::test]
async fn a_background_job_has_one_id_as_a_text_and_as_a_number() {
    let setup = Setup::five().await;
    let path = "/api/v2/sites/910/asset_tracking_config/publish";
    let taken = setup.ask("POST", path, &[], "").await.expect(303);
    let document = setup.get(taken.header("location")).await.expect(200);
    let id = document.json()["data"]["id"].as_str().expect("a text").to_owned();
    assert!(taken.header("location").ends_with(&format!("/background_jobs/{id}")));
    // As it is written: readers of JSON may take such a number for a nearby one.
    let text: String = String::from_utf8_lossy(&document.body).split_whitespace().collect();
    assert!(text.contains(&format!("\"attributes\":{{\"id\":{id},")), "{text}");
}
