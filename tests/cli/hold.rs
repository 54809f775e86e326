//! Work that is held back, and let go: kinds that are paused, and operations that are put off.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Server, exit_code, longrun, signal};

/// The state of an operation when it is done.
fn outcome(server: &Server, name: &str) -> String {
    let said = server.json(&["wait", name, "--timeout", "30s"]);
    said["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_paused_kind_starts_nothing_until_it_is_resumed_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let start = || {
        let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        command.args(["--handler", "a=cat", "--handler", "b=cat"]);
        Server::spawned(command, tempfile::tempdir().unwrap())
    };
    let mut server = start();
    assert_eq!(server.expect(0, &["kinds", "pause", "a"]).trim(), "a paused");
    assert_eq!(server.expect(0, &["kinds", "pause", "a"]).trim(), "a paused");
    let held = server.submit(&["a", "x"]);
    server.expect(0, &["submit", "b", "x", "--wait"]);
    let shown = server.json(&["get", &held]);
    assert_eq!(shown["state"], "STATE_QUEUED");
    assert_eq!(shown["waiting"]["reason"], "REASON_PAUSED", "{shown}");
    assert_eq!(shown["waiting"]["message"], "the kind a is paused");
    assert!(server.expect(0, &["kinds"]).contains("a (paused)"));

    signal(&server.process, Signal::TERM);
    assert_eq!(exit_code(&mut server.process), Some(0));
    let server = start();
    assert_eq!(server.json(&["get", &held])["waiting"]["reason"], "REASON_PAUSED");
    let kinds = server.json(&["kinds"]);
    assert_eq!(kinds["kinds"][0]["paused"], true, "{kinds}");
    assert_eq!(server.expect(0, &["kinds", "resume", "a"]).trim(), "a resumed");
    assert_eq!(outcome(&server, &held), "STATE_SUCCEEDED");
    server.expect(0, &["kinds", "resume", "a"]);

    // For each tenant, but for one that is excepted.
    server.expect(0, &["kinds", "pause", "a", "--tenant", "-"]);
    let held = server.submit(&["a", "x"]);
    assert_eq!(server.json(&["get", &held])["waiting"]["reason"], "REASON_PAUSED");
    server.expect(0, &["kinds", "resume", "a"]);
    assert_eq!(outcome(&server, &held), "STATE_SUCCEEDED");
    server.expect(0, &["kinds", "resume", "a", "--tenant", "-"]);
    server.expect(1, &["kinds", "pause", "No kind"]);
    let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
    assert!(log.contains("paused/-/a/-"), "it is in the log of changes: {log}");
}

#[test]
fn a_pause_leaves_the_kinds_limit_as_it_was() {
    let server = Server::start(&["a=cat"]);
    server.expect(0, &["limits", "set", "running", "5", "--kind", "a"]);
    server.expect(0, &["kinds", "pause", "a"]);
    server.expect(0, &["kinds", "resume", "a"]);
    let limits = server.json(&["limits", "list"]);
    assert_eq!(limits["limits"].as_array().unwrap().len(), 1, "{limits}");
    assert_eq!(limits["limits"][0]["most"], "5");
}

#[test]
fn what_is_put_off_runs_now_when_it_is_asked_to() {
    let server = Server::start(&["a=cat", "flaky=exit 75"]);
    let later = server.submit(&["a", "x", "--start-in", "1h"]);
    assert_eq!(server.json(&["get", &later])["waiting"]["reason"], "REASON_SCHEDULED");
    let said = server.expect(0, &["run-now", &later]);
    assert!(said.contains(&later), "{said}");
    assert_eq!(outcome(&server, &later), "STATE_SUCCEEDED");
    let events = server.expect(0, &["events", &later]);
    assert!(events.contains("asked to run now"), "{events}");
    // What is done stays as it is.
    assert!(server.expect(0, &["run-now", &later]).contains("SUCCEEDED"));
    server.expect(1, &["run-now", "01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e"]);

    // And what waits for its next attempt.
    let retry = ["--max-attempts", "2", "--initial-backoff", "1h", "--max-backoff", "1h"];
    let flaky = server.submit(&[&["flaky", "x"][..], &retry].concat());
    let began = Instant::now();
    while server.json(&["get", &flaky])["waiting"]["reason"] != "REASON_BACKING_OFF" {
        assert!(began.elapsed() < Duration::from_secs(30), "it never backs off");
    }
    server.expect(0, &["run-now", &flaky]);
    server.expect(3, &["wait", &flaky, "--timeout", "30s"]);
    let failed = server.json(&["get", &flaky]);
    assert_eq!(
        (&failed["state"], &failed["attempt"]),
        (&"STATE_FAILED".into(), &2.into()),
        "{failed}"
    );
}
