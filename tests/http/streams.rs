//! Streams of events, the clock in the hand of the test.

use std::time::Duration;

use longrun::operation::Progress;
use longrun::operation::Timestamp;
use longrun::service::Report;
use serde_json::json;

use crate::listening::Listener;
use crate::support::{JSON, Server, csv};

const EVENTS: (&str, &str) = ("accept", "text/event-stream");

fn percent(percent: f64) -> Progress {
    Progress {
        percent: Some(percent),
        done_units: None,
        total_units: None,
        message: String::new(),
        at: Timestamp::from_micros(1_767_225_600_000_000),
    }
}

impl Server {
    async fn listen(&self, path: &str, headers: &[(&str, &str)]) -> Listener {
        let headers = [&[EVENTS], headers].concat();
        let response = self.open("GET", path, &headers, "").await;
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().expect("a text").to_owned();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-accel-buffering"), "no");
        Listener::of_body(response.into_body())
    }
}

#[tokio::test]
async fn an_operation_is_followed_to_its_end() {
    let server = Server::start().await;
    let path = server.submit("s").await;
    let mut events = server.listen(&format!("{path}/events"), &[]).await;
    assert_eq!(events.opening().await, None);
    let snapshot = events.event("snapshot").await;
    assert_eq!(snapshot.id.as_deref(), Some("1"));
    assert_eq!(snapshot.data["operation"]["location"], format!("http://lro.test{path}"));
    assert_eq!(snapshot.data["operation"]["state"], "STATE_QUEUED");

    let mut worker = server.work("s").await;
    let (id, attempt, _) = worker.next().await;
    let started = events.event("transition").await;
    assert_eq!(started.id.as_deref(), Some("2"));
    assert_eq!(started.data["event"]["type"], "TYPE_STARTED");

    worker.session.progress(id, attempt, percent(40.0)).await.expect("a reception");
    let progress = events.event("progress").await;
    assert_eq!((progress.id.as_ref(), &progress.data["revision"]), (None, &json!("2")));
    assert_eq!(progress.data["operation"]["progress"]["percent"], 40);

    // Silence is broken by comments.
    for _ in 0..2 {
        let (block, ()) = tokio::join!(events.block(), async {
            server.clock.advance(Duration::from_secs(15));
        });
        let block = block.expect("a sign of life");
        assert_eq!((block.comment.as_deref(), block.event.as_str()), (Some("alive"), ""));
        worker.session.renew().await.expect("a reception");
    }

    let done = Report::Complete {
        result: Some(csv()),
        contents: None,
        warnings: Vec::new(),
        errors: Vec::new(),
    };
    worker.session.report(id, attempt, done).await.expect("an acknowledgement");
    let finished = events.event("transition").await;
    assert_eq!(finished.id.as_deref(), Some("3"));
    assert_eq!(finished.data["operation"]["state"], "STATE_SUCCEEDED");
    assert_eq!(finished.data["operation"]["result"]["data"], "YSxiCv8=");
    events.end().await;

    // Who comes back has nothing to wait for.
    let headers = [EVENTS, ("last-event-id", "3")];
    let over = server.ask("GET", &format!("{path}/events"), &headers, "").await.expect(204);
    assert_eq!(over.body.len(), 0);
    // Who comes for the first time is told how it ended.
    let mut late = server.listen(&format!("{path}/events"), &[]).await;
    late.opening().await;
    assert_eq!(late.event("snapshot").await.id.as_deref(), Some("3"));
    late.end().await;
}

#[tokio::test]
async fn a_stream_resumes_behind_the_last_event() {
    let server = Server::start().await;
    let path = server.submit("r").await;
    server.work("r").await.complete(None).await;
    let events = format!("{path}/events");
    for (query, header, ids) in [
        ("", "1", &["2", "3"][..]),
        ("?last_event_id=0", "", &["1", "2", "3"]),
        ("?lastEventId=0&includeProgress=false&view=BASIC", "2", &["3"]),
    ] {
        let url = format!("{events}{query}");
        let mut listener = server.listen(&url, &[("last-event-id", header)]).await;
        listener.opening().await;
        for id in ids {
            assert_eq!(listener.event("transition").await.id.as_deref(), Some(*id), "{url}");
        }
        listener.end().await;
    }
    for (id, reason) in [
        ("4", "REVISION_AHEAD"),
        ("x", "INVALID_ARGUMENT"),
        ("-1", "INVALID_ARGUMENT"),
        ("+1", "INVALID_ARGUMENT"),
        ("99999999999999999999", "INVALID_ARGUMENT"),
    ] {
        let headers = [EVENTS, ("last-event-id", id)];
        server.ask("GET", &events, &headers, "").await.problem(400, reason);
    }
    let both = format!("{events}?page_size=3");
    server.ask("GET", &both, &[EVENTS], "").await.problem(400, "INVALID_ARGUMENT");
    let unknown = events.replace(&path[path.len() - 4..], "0000");
    server.ask("GET", &unknown, &[EVENTS], "").await.problem(404, "OPERATION_NOT_FOUND");

    // The same address gives pages to who does not ask for events.
    let page = server.get(&events).await.expect(200);
    assert_eq!((page.header("vary"), page.header("content-type")), ("accept", "application/json"));
}

#[tokio::test]
async fn a_stream_ends_at_its_age_and_goes_on_where_it_was() {
    let server = Server::start().await;
    let path = server.submit("old").await;
    let mut events = server.listen(&format!("{path}/events"), &[]).await;
    events.opening().await;
    let seen = events.event("snapshot").await.id.expect("an id");
    tokio::join!(events.end(), async { server.clock.advance(Duration::from_secs(361)) });

    server.ask("POST", &format!("{path}:cancel"), &[JSON], "").await.expect(200);
    let headers = [("last-event-id", seen.as_str())];
    let mut again = server.listen(&format!("{path}/events"), &headers).await;
    again.opening().await;
    assert_eq!(again.event("transition").await.data["event"]["type"], "TYPE_FINISHED");
    again.end().await;
}

#[tokio::test]
async fn all_that_match_are_followed() {
    let server = Server::start().await;
    let old = server.submit("f").await;
    server.submit("other").await;
    let url = "/v1/operations/events?filter=kind%3Df%20AND%20state%3DQUEUED";
    let mut events = server.listen(url, &[]).await;
    assert_eq!(events.opening().await, None);
    let current = events.event("current").await;
    assert_eq!(current.data["operation"]["location"], format!("http://lro.test{old}"));
    events.event("synced").await;

    let new = server.submit("f").await;
    let submitted = events.event("transition").await;
    assert_eq!(submitted.data["operation"]["location"], format!("http://lro.test{new}"));
    assert_eq!(submitted.data["event"]["type"], "TYPE_SUBMITTED");
    let seen = submitted.id.expect("an id to come back with");
    assert_eq!(submitted.data["position"], seen);
    server.ask("POST", &format!("{old}:cancel"), &[JSON], "").await.expect(200);
    let left = events.event("left").await;
    assert_eq!(left.data["operation"]["state"], "STATE_CANCELLED");
    let (silence, ()) =
        tokio::join!(events.block(), async { server.clock.advance(Duration::from_secs(15)) });
    assert_eq!(silence.expect("a sign of life").comment.as_deref(), Some("alive"));
    tokio::join!(events.end(), async { server.clock.advance(Duration::from_secs(361)) });

    // A client that comes back goes on.
    let mut again = server.listen(url, &[("last-event-id", &seen)]).await;
    again.opening().await;
    let left = again.event("left").await;
    assert_eq!(left.data["operation"]["location"], format!("http://lro.test{old}"));
    // One that comes from elsewhere is to forget what it knew, and is told what there is.
    let mut again = server.listen(url, &[("last-event-id", "seen")]).await;
    again.opening().await;
    again.event("reset").await;
    let current = again.event("current").await;
    assert_eq!(current.data["operation"]["location"], format!("http://lro.test{new}"));
    again.event("synced").await;

    let mut news = server.listen("/v1/operations/events?skip_current=true", &[]).await;
    news.opening().await;
    news.event("synced").await;
    server.ask("DELETE", &old, &[], "").await.expect(204);
    let deleted = news.event("deleted").await;
    assert_eq!(deleted.data["operation"]["location"], format!("http://lro.test{old}"));
    let bad = "/v1/operations/events?filter=%3D";
    server.ask("GET", bad, &[EVENTS], "").await.problem(400, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_stream_tells_why_it_breaks_off() {
    let server = Server::start().await;
    let path = server.submit("gone").await;
    // Its last three transitions are at hand.
    let acquired = server.ask("POST", "/v1/kinds/gone:acquire", &[], "").await.expect(200);
    let token = acquired.json()["token"].as_str().unwrap().to_owned();
    server.ask("POST", &format!("/v1/attempts/{token}:release"), &[], "").await.expect(204);
    server.ask("POST", &format!("{path}:cancel"), &[JSON], "").await.expect(200);
    let mut events = server.listen(&format!("{path}/events?last_event_id=0"), &[]).await;
    server.ask("DELETE", &path, &[], "").await.expect(204);
    events.opening().await;
    let problem = events.event("problem").await.data;
    assert_eq!(
        (&problem["reason"], &problem["status"]),
        (&json!("OPERATION_NOT_FOUND"), &json!(404))
    );
    assert_eq!(problem["instance"], format!("{path}/events"));
    events.end().await;
}

#[tokio::test]
async fn readers_of_the_same_events_are_sent_their_own_links_and_positions() {
    let server = Server::start().await;
    let path = "/v1/operations/events?skip_current=true";
    let other = [("host", "other.test"), EVENTS];
    let mut readers = vec![server.listen(path, &[]).await, server.listen(path, &[]).await];
    let mut request = http::Request::get(path);
    for (name, value) in other {
        request = request.header(name, value);
    }
    let Ok(response) = tonic::codegen::Service::call(
        &mut server.router.clone(),
        request.body(axum::body::Body::empty()).expect("a request"),
    )
    .await;
    readers.push(Listener::of_body(response.into_body()));
    for reader in &mut readers {
        assert_eq!(reader.opening().await, None);
        reader.event("synced").await;
    }
    let operation = server.submit("s").await;
    let mut told = Vec::new();
    for reader in &mut readers {
        told.push(reader.event("transition").await);
    }
    let location = |at: usize| told[at].data["operation"]["location"].clone();
    assert_eq!(location(0), format!("http://lro.test{operation}"));
    assert_eq!(location(2), format!("http://other.test{operation}"));
    assert_eq!((&told[0].data, &told[0].id), (&told[1].data, &told[1].id));
    assert_eq!(told[0].id, told[2].id);
    // Each goes on where it was.
    let after = [("last-event-id", told[0].id.as_deref().expect("a position"))];
    let mut resumed = server.listen("/v1/operations/events", &after).await;
    resumed.opening().await;
    let next = server.submit("s").await;
    let event = resumed.event("transition").await;
    assert_eq!(event.data["operation"]["location"], format!("http://lro.test{next}"));
}
