//! Conditional requests, and parts of results.

use std::time::Duration;

use longrun::operation::{HttpEnvelope, HttpHeader, Progress, Timestamp};

use crate::support::{JSON, Server, csv};

const OLD: &str = "Sun, 22 Nov 2026 00:00:00 GMT";
const NOW: &str = "Mon, 23 Nov 2026 00:00:00 GMT";

#[tokio::test]
async fn who_knows_the_revision_is_told_so() {
    let server = Server::start().await;
    let path = server.submit("c").await;
    for url in [path.clone(), format!("{path}/status"), format!("{path}/result")] {
        for known in ["\"1\"", "W/\"1\"", "\"7\", \"1\"", "*"] {
            let headers = [("if-none-match", known)];
            let same = server.ask("GET", &url, &headers, "").await.expect(304);
            assert_eq!((same.header("etag"), same.header("vary")), ("\"1\"", "prefer"));
            assert_eq!((same.header("retry-after"), same.body.len()), ("1", 0));
            assert_eq!(same.header("cache-control"), "no-store");
        }
        for other in ["\"2\"", "1", ""] {
            let headers = [("if-none-match", other)];
            let answer = server.ask("GET", &url, &headers, "").await;
            assert_ne!(answer.status, 304, "{url} {other}");
        }
    }
    server.work("c").await.complete(Some(csv())).await;
    let headers = [("if-none-match", "\"3\"")];
    // A redirect is no answer that a condition could spare.
    server.ask("GET", &path, &headers, "").await.expect(303);
    let status = server.ask("GET", &format!("{path}/status?wait=9"), &headers, "").await;
    assert_eq!(status.expect(304).header("retry-after"), "");
    server.ask("GET", &format!("{path}/result"), &headers, "").await.expect(304);
    server.ask("HEAD", &format!("{path}/result"), &headers, "").await.expect(304);

    let failed = server.submit("f").await;
    server.ask("POST", &format!("{failed}:cancel"), &[JSON], "").await.expect(200);
    let headers = [("if-none-match", "*")];
    server.ask("GET", &format!("{failed}/result"), &headers, "").await.problem(499, "CANCELLED");
}

#[tokio::test]
async fn changes_are_for_the_revision_that_they_name() {
    let server = Server::start().await;
    let path = server.submit("c").await;
    let change = async |method: &str, url: &str, tag: &str| {
        server.ask(method, url, &[("if-match", tag), JSON], "").await
    };
    let (cancel, retry) = (format!("{path}:cancel"), format!("{path}:retry"));
    change("POST", &cancel, "\"2\"").await.problem(412, "PRECONDITION_FAILED");
    change("POST", &cancel, "W/\"1\"").await.problem(412, "PRECONDITION_FAILED");
    change("POST", &cancel, "1").await.problem(400, "INVALID_ARGUMENT");
    let same = server.get(&format!("{path}/status")).await.expect(200);
    assert_eq!(same.header("etag"), "\"1\"");
    change("POST", &cancel, "\"7\", \"1\"").await.expect(200);
    for (method, url) in [("POST", &retry), ("DELETE", &path)] {
        change(method, url, "\"1\"").await.problem(412, "PRECONDITION_FAILED");
    }
    change("POST", &retry, "\"2\"").await.expect(202);
    change("DELETE", &path, "*").await.expect(204);
    change("DELETE", &path, "*").await.problem(404, "OPERATION_NOT_FOUND");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_change_or_with_time() {
    let server = Server::start().await;
    let path = server.submit("p").await;
    let known = [("prefer", "wait=30"), ("if-none-match", "\"1\"")];

    let poll = server.ask("GET", &path, &known, "");
    let (poll, mut worker) = tokio::join!(poll, server.work("p"));
    let started = poll.expect(202);
    assert_eq!(
        (started.header("etag"), started.header("preference-applied")),
        ("\"2\"", "wait=30")
    );
    assert_eq!(started.json()["state"], "STATE_RUNNING");
    // What has changed already is not waited for.
    server.ask("GET", &path, &known, "").await.expect(202);

    let known = [("prefer", "wait=30"), ("if-none-match", "\"2\"")];
    let status = format!("{path}/status");
    let poll = server.ask("GET", &status, &known, "");
    let (poll, ()) = tokio::join!(poll, worker.complete(Some(csv())));
    assert_eq!(poll.expect(200).json()["status"], "Succeeded");

    let path = server.submit("slow").await;
    for (url, headers, applied) in [
        (path.clone(), &[("prefer", "wait=20"), ("if-none-match", "*")][..], "wait=20"),
        (format!("{path}?wait=20s"), &[("prefer", "wait=9"), ("if-none-match", "\"1\"")], ""),
    ] {
        let poll = server.ask("GET", &url, headers, "");
        let time = async { server.clock.advance(Duration::from_secs(20)) };
        let (poll, ()) = tokio::join!(poll, time);
        assert_eq!(poll.expect(304).header("preference-applied"), applied);
    }
}

fn progress(percent: f64, at: i64) -> Progress {
    Progress {
        percent: Some(percent),
        done_units: None,
        total_units: None,
        message: String::new(),
        at: Timestamp::from_micros(at),
    }
}

#[tokio::test]
async fn progress_makes_another_representation() {
    let server = Server::start().await;
    let path = server.submit("p").await;
    let mut worker = server.work("p").await;
    let (id, attempt, _) = worker.next().await;
    let (status, pending) = (format!("{path}/status"), format!("{path}/result"));
    let urls = [path.clone(), status.clone(), pending];
    let mut known = server.get(&status).await.header("etag").to_owned();
    assert_eq!(known, "\"2\"");

    for percent in [40.0, 41.0] {
        // A client that waits for news hears of it, and one that looks is not told that there is none.
        let headers = [("if-none-match", known.as_str()), ("prefer", "wait=30")];
        let news = server.ask("GET", &status, &headers, "");
        let reported = worker.session.progress(id, attempt, progress(percent, percent as i64));
        let (news, reported) = tokio::join!(news, reported);
        reported.expect("a place for it");
        let news = news.expect(200);
        assert_eq!(news.json()["percentComplete"], percent);
        let tag = news.header("etag").to_owned();
        assert!(tag.starts_with("\"2-") && tag != known, "{tag}");
        for url in &urls {
            let headers = [("if-none-match", known.as_str())];
            let changed = server.ask("GET", url, &headers, "").await;
            assert_ne!(changed.status, 304, "{url}");
            assert_eq!(changed.header("etag"), tag);
            server.ask("GET", url, &[("if-none-match", &tag)], "").await.expect(304);
        }
        known = tag;
        server.clock.advance(Duration::from_secs(1));
    }
    // A change is for the revision that was seen, however far the work has come since.
    let cancel = format!("{path}:cancel");
    let change = async |tag: &str| server.ask("POST", &cancel, &[("if-match", tag)], "").await;
    change("\"1-0011\"").await.problem(412, "PRECONDITION_FAILED");
    change("\"2-0011\"").await.expect(202);
    worker.complete_of(id, attempt, Some(csv())).await;
    for url in [status, format!("{path}/result")] {
        assert_eq!(server.get(&url).await.header("etag"), "\"4\"");
    }
}

#[tokio::test]
async fn a_recorded_validator_holds_for_the_result() {
    let server = Server::start().await;
    let header = HttpHeader { name: "etag".to_owned(), value: b"\"v7\"".to_vec() };
    let recorded = HttpEnvelope { status: 200, headers: vec![header], ..HttpEnvelope::default() };
    let path = server.submit("r").await;
    server.work("r").await.complete(Some(csv().within(recorded))).await;
    let url = format!("{path}/result");
    assert_eq!(server.get(&url).await.expect(200).header("etag"), "\"v7\"");
    let known = server.ask("GET", &url, &[("if-none-match", "W/\"v7\"")], "").await.expect(304);
    assert_eq!(known.header("etag"), "\"v7\"");
    server.ask("GET", &url, &[("if-none-match", "\"3\"")], "").await.expect(200);
    for (tag, status) in [("\"v7\"", 206), ("\"3\"", 200)] {
        let headers = [("range", "bytes=0-1"), ("if-range", tag)];
        server.ask("GET", &url, &headers, "").await.expect(status);
    }
}

#[tokio::test]
async fn a_result_is_fetched_in_parts() {
    let server = Server::start().await;
    let path = server.submit("r").await;
    server.work("r").await.complete(Some(csv())).await;
    let url = format!("{path}/result");
    let whole = server.get(&url).await.expect(200);
    assert_eq!((whole.header("accept-ranges"), whole.header("etag")), ("bytes", "\"3\""));
    assert_eq!((whole.header("content-length"), whole.header("vary")), ("5", "prefer"));

    for (range, content_range, bytes) in [
        ("bytes=0-1", "bytes 0-1/5", &b"a,"[..]),
        ("bytes=3-", "bytes 3-4/5", b"\n\xff"),
        ("bytes=-1", "bytes 4-4/5", b"\xff"),
        ("bytes=1-99", "bytes 1-4/5", b",b\n\xff"),
    ] {
        for headers in [&[("range", range)][..], &[("range", range), ("if-range", "\"3\"")]] {
            let part = server.ask("GET", &url, headers, "").await.expect(206);
            assert_eq!(part.header("content-range"), content_range);
            assert_eq!(part.header("content-type"), "text/csv; header=present");
            assert_eq!((&part.body[..], part.header("etag")), (bytes, "\"3\""));
        }
    }
    for headers in [
        &[("range", "bytes=0-1,3-4")][..],
        &[("range", "bytes=4-2")],
        &[("range", "bytes=0-1"), ("if-range", "\"2\"")],
        &[("range", "bytes=9-"), ("if-range", "W/\"3\"")],
    ] {
        let answer = server.ask("GET", &url, headers, "").await.expect(200);
        assert_eq!((answer.body.len(), answer.header("content-range")), (5, ""), "{headers:?}");
    }
    let beyond = server.ask("GET", &url, &[("range", "bytes=5-")], "").await;
    assert_eq!(beyond.header("content-range"), "bytes */5");
    beyond.problem(416, "RANGE_NOT_SATISFIABLE");
    // What the client has need not be sent, in parts or whole.
    let headers = [("range", "bytes=0-1"), ("if-none-match", "\"3\"")];
    server.ask("GET", &url, &headers, "").await.expect(304);

    let head = server.ask("HEAD", &url, &[("range", "bytes=0-1")], "").await.expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("5", 0));
    assert_eq!(head.header("accept-ranges"), "bytes");
}

#[tokio::test]
async fn what_a_client_does_not_want_is_not_sent() {
    let server = Server::start().await;
    let path = server.submit("m").await;
    let ask = async |method: &str, url: &str, headers: &[(&str, &str)]| {
        server.ask(method, url, headers, "").await
    };
    for url in [path.clone(), format!("{path}/status"), format!("{path}/result")] {
        for other in ["\"9\"", "W/\"1\""] {
            let refused = ask("GET", &url, &[("if-match", other)]).await;
            refused.problem(412, "PRECONDITION_FAILED");
        }
        ask("GET", &url, &[("if-match", "1")]).await.problem(400, "INVALID_ARGUMENT");
        for same in ["\"1\"", "*"] {
            assert_ne!(ask("GET", &url, &[("if-match", same)]).await.status, 412, "{url} {same}");
        }
        let both = [("if-match", "\"1\""), ("if-none-match", "\"1\"")];
        ask("GET", &url, &both).await.expect(304);
    }
    server.work("m").await.complete(Some(csv())).await;
    let result = format!("{path}/result");
    let range = ("range", "bytes=0-3");
    let refused = ask("GET", &result, &[range, ("if-match", "\"9\"")]).await;
    refused.problem(412, "PRECONDITION_FAILED");
    ask("HEAD", &result, &[range, ("if-match", "\"9\"")]).await.expect(412);
    let both = [range, ("if-match", "\"9\""), ("if-none-match", "\"3\"")];
    ask("GET", &result, &both).await.problem(412, "PRECONDITION_FAILED");
    ask("GET", &result, &[range, ("if-match", "\"3\"")]).await.expect(206);
    // There is no date to compare.
    ask("GET", &result, &[("if-unmodified-since", OLD)]).await.expect(200);
    // A redirect is no answer that a condition could refuse.
    ask("GET", &path, &[("if-match", "\"9\"")]).await.expect(303);

    let input = format!("{path}/input");
    let known = ask("GET", &input, &[("if-none-match", "\"1\"")]).await.expect(304);
    assert_eq!(known.header("etag"), "\"1\"");
    ask("GET", &input, &[("if-match", "\"2\"")]).await.problem(412, "PRECONDITION_FAILED");

    for tags in ["*", "\"1\", \"3\""] {
        let refused = ask("DELETE", &path, &[("if-none-match", tags)]).await;
        refused.problem(412, "PRECONDITION_FAILED");
    }
    ask("DELETE", &path, &[("if-none-match", "\"1\"")]).await.expect(204);
    let failed = server.submit("f").await;
    let cancel = format!("{failed}:cancel");
    ask("POST", &cancel, &[("if-none-match", "*")]).await.problem(412, "PRECONDITION_FAILED");
    ask("POST", &cancel, &[]).await.expect(200);
    let wanted = [("if-match", "\"9\"")];
    ask("GET", &format!("{failed}/result"), &wanted).await.problem(499, "CANCELLED");
}

#[tokio::test]
async fn a_recorded_date_is_compared() {
    let server = Server::start().await;
    let url = format!("{}/result", server.submit("d").await);
    let headers = vec![HttpHeader { name: "last-modified".to_owned(), value: NOW.into() }];
    let envelope = HttpEnvelope { status: 200, headers, ..HttpEnvelope::default() };
    server.work("d").await.complete(Some(csv().within(envelope))).await;
    for (field, time, status) in [
        ("if-modified-since", OLD, 200),
        ("if-modified-since", NOW, 304),
        ("if-unmodified-since", OLD, 412),
        ("if-unmodified-since", NOW, 200),
    ] {
        let answer = server.ask("GET", &url, &[(field, time)], "").await;
        assert_eq!(answer.status, status, "{field} {time}");
    }
}
