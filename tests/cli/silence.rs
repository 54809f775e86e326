//! Operations that no worker will start: whoever looks is told, on stderr.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::*;

const WORDS: &str = "no worker serves lonely (serving now: shout)";

#[test]
fn a_kind_that_nobody_serves_is_told_to_whoever_waits() {
    let server = Server::start(&["shout=cat"]);
    let name = server.submit(&["lonely"]);
    for args in [
        &["submit", "lonely", "--wait=20s"][..],
        &["submit", "lonely", "--watch"],
        &["wait", &name],
        &["watch", &name],
    ] {
        let mut child =
            server.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(line.trim_end(), WORDS, "{args:?}");
    }
    let got = server.command(&["get", &name]).output().unwrap();
    assert!(stderr(&got).contains(WORDS), "{got:?}");
    assert!(stdout(&got).contains(&format!("NO_WORKER: {WORDS}")), "{got:?}");
    assert_eq!(server.json(&["get", &name])["waiting"]["reason"], "REASON_NO_WORKER");
}

#[test]
fn a_paused_kind_is_reported_to_commands_that_wait() {
    const PAUSED: &str = "the kind shout is paused";
    let server = Server::start(&["shout=cat"]);
    server.expect(0, &["kinds", "pause", "shout"]);
    let name = server.submit(&["shout"]);
    for args in [&["submit", "shout", "--watch"][..], &["wait", &name], &["watch", &name]] {
        let mut child =
            server.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(line.trim_end(), PAUSED, "{args:?}");
    }
}

#[test]
fn a_worker_names_the_server_that_it_connects_to() {
    let args = ["worker", "k", "--server", "http://127.0.0.1:1", "--", "cat"];
    let mut child = longrun(&args).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let is_about = |line: &String| line.contains("connecting to http://127.0.0.1:1 to serve k");
    let found = lines.take(5).any(|line| is_about(&line));
    let _ = child.kill();
    let _ = child.wait();
    assert!(found);
}

#[test]
fn workers_and_kinds_are_tables_and_documents() {
    let server = Server::start(&["shout=cat"]);
    server.submit(&["lonely"]);
    let kinds = server.expect(0, &["kinds"]);
    let lines: Vec<&str> = kinds.lines().collect();
    assert!(lines[0].starts_with("KIND    QUEUED  OLDEST  RUNNING  WORKERS  ENDED/MIN"), "{kinds}");
    assert!(lines[1].starts_with("lonely  1       "), "{kinds}");
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["shout", "0", "0", "1", "0", "0"]);
    let workers = server.json(&["workers", "--kind", "shout"]);
    let [worker] = workers["workers"].as_array().unwrap().as_slice() else { panic!("{workers}") };
    assert_eq!((&worker["state"], &worker["shared"]), (&"STATE_SERVING".into(), &true.into()));
    assert_eq!(worker["kinds"], serde_json::json!(["shout"]));
    assert!(server.expect(0, &["workers"]).contains("within the server"));
    assert_eq!(server.expect(0, &["workers", "--kind", "lonely"]), "");
}

#[test]
fn each_operation_that_ends_is_a_line_of_the_log() {
    let mut server = Server::start(&["shout=cat", "fail=exit 1"]);
    server.expect(0, &["submit", "shout", "marked-input", "--wait"]);
    server.expect(3, &["submit", "fail", "--max-attempts=1", "--wait"]);
    signal(&server.process, Signal::TERM);
    assert_eq!(exit_code(&mut server.process), Some(0));
    let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
    let line = |kind: &str| {
        let of = |line: &&str| line.contains("finished") && line.contains(kind);
        log.lines().find(of).unwrap_or_else(|| panic!("{log}")).to_owned()
    };
    assert!(line("shout").contains("INFO") && line("shout").contains("SUCCEEDED"), "{log}");
    assert!(line("fail").contains("WARN") && line("fail").contains("FAILED"), "{log}");
    assert!(!log.contains("marked-input"));
}

/// The pipe has room for a part of what the server says.
#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let command =
        longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store, "--log", "trace"]);
    let mut server = Server::saying(command, directory, Stdio::piped());
    let unread = server.process.stderr.take().unwrap();
    for _ in 0..100 {
        server.submit(&["shout"]);
    }
    signal(&server.process, Signal::TERM);
    assert_eq!(exit_code(&mut server.process), Some(0));
    let mut said = String::new();
    BufReader::new(unread).read_to_string(&mut said).unwrap();
    // Its last words found no room.
    assert!(said.contains("created a new store") && !said.contains("stopping"), "{said}");
}
