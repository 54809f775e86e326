//! Pages in browsers: whose may have requests become operations, and whose word counts on what they may read.

use std::sync::atomic::Ordering;

use crate::raw::{Raw, answer, upstream};
use crate::support::{Api, Setup};

const APP: &str = "https://app.example";
const STRANGER: &str = "https://stranger.example";

fn preflight(origin: &str) -> [(&str, &str); 3] {
    [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "prefer"),
    ]
}

#[tokio::test]
async fn pages_of_other_sites_make_no_operations_but_those_of_listed_ones() {
    let more = format!("[relay.trigger]\nquery = \"async\"\norigins = [\"{APP}\"]\n");
    let setup = Setup::new(&more).await;
    let own = format!("http://{}", setup.addr);
    for method in ["GET", "POST"] {
        for (path, prefer) in [("/api/csv?async=1", ""), ("/api/csv", "respond-async")] {
            for (origin, status) in [
                (STRANGER, 403),
                ("null", 403),
                ("http://app.example", 403),
                (APP, 202),
                (&own, 202),
            ] {
                let fields = [("origin", origin), ("prefer", prefer)];
                let answer = setup.ask(method, path, &fields, "").await.expect(status);
                let readable = if origin == APP { APP } else { "" };
                assert_eq!(answer.header("access-control-allow-origin"), readable);
                if status == 403 {
                    assert_eq!(answer.json()["reason"], "ORIGIN_REFUSED");
                }
            }
        }
        // What passes through is the API's to refuse.
        setup.ask(method, "/api/csv", &[("origin", STRANGER)], "").await.expect(200);
    }
}

#[tokio::test]
async fn a_preflight_is_no_trigger() {
    let more = format!("[relay.trigger]\nquery = \"async\"\norigins = [\"{APP}\"]\n");
    let mut setup = Setup::new(&more).await;
    for (origin, allowed) in [(STRANGER, ""), (APP, APP)] {
        let answer = setup.ask("OPTIONS", "/api/csv?async=1&b", &preflight(origin), "").await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert_eq!(
            answer.header("access-control-allow-headers"),
            if allowed.is_empty() { "" } else { "prefer" }
        );
        let asked = setup.asked().await;
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("OPTIONS", "/base/csv?b"));
    }
    let operations = setup.ask("GET", "/v1/operations", &[], "").await.json();
    assert_eq!(operations["operations"], serde_json::json!([]));
    // An OPTIONS that is none is a request like any other.
    setup.ask("OPTIONS", "/api/csv?async=1", &[], "").await.expect(202);
    assert!(setup.api.count.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn an_api_with_cors_of_its_own_has_the_say() {
    let own = "Access-Control-Allow-Origin: https://other.example\r\nAccess-Control-Allow-Credentials: true\r\n\
               Vary: Origin\r\n";
    let respond = move |request: &Raw| {
        let is_own = request.line.contains("/own");
        answer("200 OK", if is_own { own } else { "" }, "x")
    };
    let (authority, _asked, running) = upstream(respond).await;
    let (api, others) = Api::new();
    let url = format!("http://{authority}");
    let listed = |config: &mut longrun::config::ServeConfig| {
        config.browsers.cors_origins = vec![APP.to_owned()];
    };
    let setup = Setup::edited(&url, "", others, api, running, listed).await;
    for fields in [&preflight(APP)[..], &[("origin", APP)]] {
        let method = if fields.len() > 1 { "OPTIONS" } else { "GET" };
        let theirs = setup.ask(method, "/api/own", fields, "").await.expect(200);
        assert_eq!(theirs.header("access-control-allow-origin"), "https://other.example");
        assert_eq!(theirs.header("access-control-allow-credentials"), "true");
        assert_eq!(theirs.header("access-control-expose-headers"), "");
        let origins = theirs.headers.get_all("vary").iter().filter(|field| *field == "Origin");
        assert_eq!(origins.count(), 1);
        // Where it says nothing, this server does.
        let ours = setup.ask(method, "/api/none", fields, "").await;
        assert_eq!(ours.header("access-control-allow-origin"), APP);
    }
}

#[tokio::test]
async fn a_recorded_202_is_done() {
    let respond = |_: &Raw| answer("202 Accepted", "Retry-After: 5\r\n", "queued elsewhere");
    let (setup, ..) = crate::raw::setup("", respond).await;
    let result = setup.result("POST", "/api/x", "y").await.expect(200);
    assert_eq!(&result.body[..], b"queued elsewhere");
    assert_eq!(
        (result.header("longrun-recorded-status"), result.header("retry-after")),
        ("202", "5")
    );
}

#[tokio::test]
async fn a_dialects_trigger_is_no_other_sites_either_and_answers_depend_on_what_it_names() {
    let dialect = "[[dialect]]\nuse = \"async-parameter\"\nprefix = \"/\"\nrelay = \"api\"\n";
    let setup = Setup::new(dialect).await;
    let path = "/api/csv?async=true";
    setup.ask("GET", path, &[("origin", STRANGER)], "").await.expect(403);
    setup.ask("GET", path, &[], "").await.expect(202);
    // The dialect's trigger takes the place of the mount's, and that has no Prefer.
    let passed = setup.ask("GET", "/api/csv", &[("prefer", "respond-async")], "").await.expect(200);
    assert_eq!(passed.header("vary"), "");
}
