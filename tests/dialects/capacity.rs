//! Capacity: past it submissions are refused in the dialect's words, however many come at once; and the time limit of
//! the queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use longrun::config::file;
use longrun::engine::{Engine, EngineConfig, ManualClock};
use longrun::http::{HttpOptions, router};
use longrun::objects::Objects;
use longrun::operation::Timestamp;
use longrun::relay::Relay;
use longrun::service::{Limits, Service};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

use crate::support::{Setup, soon};

const THREE: &str = r#"
[[dialect]]
use = "job-object"
prefix = "/api"
capacity = 3
[[dialect.submit]]
path = "/shares"
kind = "Share"
[[dialect.submit]]
path = "/volumes"
kind = "Volume"
"#;

#[tokio::test]
async fn no_more_are_taken_than_there_is_room_for_however_many_come_at_once() {
    let mut setup = Setup::without_workers(THREE).await;
    let answers = join_all((0..20).map(|_| setup.ask("POST", "/api/shares", &[], ""))).await;
    let taken: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert_eq!(taken.len(), 3);
    for refused in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
        assert_eq!(refused.json()["reason"], "RESOURCE_EXHAUSTED");
    }
    // Each kind has room of its own; and the room is known after a restart.
    setup.ask("POST", "/api/volumes", &[], "").await.expect(202);
    let id = taken[0].json()["key"].as_str().expect("a key").to_owned();
    setup.crash().await;
    setup.ask("POST", "/api/shares", &[], "").await.expect(429);
    setup.ask("POST", &format!("/v1/operations/{id}:cancel"), &[], "").await.expect(200);
    setup.ask("POST", "/api/shares", &[], "").await.expect(202);
    setup.ask("POST", "/api/shares", &[], "").await.expect(429);
}

#[tokio::test]
async fn a_submission_that_is_sent_again_takes_no_room() {
    let setup = Setup::without_workers(THREE).await;
    let key = [("idempotency-key", "\"one\"")];
    let first = setup.ask("POST", "/api/shares", &key, "").await.expect(202).json();
    for _ in 0..2 {
        setup.ask("POST", "/api/shares", &[], "").await.expect(202);
    }
    let again = setup.ask("POST", "/api/shares", &key, "").await.expect(202).json();
    assert_eq!(again["key"], first["key"]);
    setup.ask("POST", "/api/shares", &[], "").await.expect(429);
}

#[tokio::test]
async fn what_has_waited_for_over_thirty_seconds_is_removed_with_an_error() {
    let text = r#"
[[relay]]
name = "a"
prefix = "/a"
upstream = "http://127.0.0.1:1"
[[dialect]]
use = "async-parameter"
prefix = "/a"
relay = "a"
capacity = 1
"#;
    let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let file::Config { relay, dialects, .. } =
        file::parse(text, &no_files).expect("a configuration");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("longrun.db");
    let store = Arc::new(SqliteStore::open(&path, &SqliteOptions::default()).expect("a store"));
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000)));
    let engine = Engine::open(store, clock.clone(), EngineConfig::default());
    let (engine, task) = engine.await.expect("an engine");
    tokio::spawn(task.run(CancellationToken::new()));
    let objects = Objects::in_directory(&directory.path().join("objects")).expect("objects");
    let service = Service::new(engine, objects, Limits::default(), CancellationToken::new());
    let options =
        HttpOptions { relay: Relay::new(&relay).unwrap(), dialects, ..HttpOptions::default() };
    let router = router(service, options);
    let router = longrun::auth::in_front_of(router, longrun::auth::Authenticator::open());
    let ask = |method: &'static str, target: String| {
        let mut router = router.clone();
        async move {
            let request = http::Request::builder().method(method).uri(target);
            let request = request.header("host", "lro.test").header("prefer", "wait=60");
            let request = request.body(axum::body::Body::empty()).expect("a request");
            let Ok(response) = soon(router.call(request)).await;
            let (parts, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
            (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned())
        }
    };
    // No worker: it stays in the queue, and is all that there is room for.
    let (status, headers, body) = ask("POST", "/a/b?async=true".to_owned()).await;
    assert_eq!((status, body.as_str()), (202, "{\"progress\":\"queued\"}\n"));
    let (status, _, body) = ask("POST", "/a/b?async=true".to_owned()).await;
    assert_eq!(status, 429);
    assert!(body.starts_with("{\"error\":\"the number of outstanding requests exceeds"), "{body}");
    let location = headers["location"].to_str().expect("a text");
    let location = location.strip_prefix("http://lro.test").expect("a URL").to_owned();
    let polled = tokio::spawn(ask("GET", location.clone()));
    let at_once = tokio::time::timeout(Duration::from_millis(50), async {
        while !polled.is_finished() {
            tokio::task::yield_now().await;
        }
    });
    assert!(at_once.await.is_err(), "it waits for the end");
    clock.advance(Duration::from_millis(30_001));
    for answer in [soon(polled).await.expect("an answer"), ask("GET", location).await] {
        let (status, _, body) = answer;
        assert_eq!(status, 504, "{body}");
        assert!(body.contains("in the queue for over 30 seconds and has been removed"), "{body}");
    }
    // And there is room again.
    assert_eq!(ask("POST", "/a/b?async=true".to_owned()).await.0, 202);
}
