//! Operations that no worker will start: whoever looks is told, on stderr.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

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
fn a_batch_whose_children_nobody_starts_says_so() {
    let server = Server::start(&["shout=cat"]);
    let file = server.directory.path().join("inputs");
    std::fs::write(&file, "1\n2\n").unwrap();
    for then in ["--wait", "--watch"] {
        let args = ["batch", "lonely", file.to_str().unwrap(), then];
        let mut child =
            server.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let _ = child.kill();
        let _ = child.wait();
        assert!(line.starts_with("its children wait: no worker serves lonely"), "{args:?}: {line}");
    }
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

/// The documents of a JSON log, without the notes of a command beside them.
fn documents(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether a text is a duration with its unit, `1.2s` or `3 m`: no reader of logs can compare those.
fn is_duration(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    unit.len() < text.len() && ["ns", "µs", "ms", "s", "m", "h", "d"].contains(&unit)
}

#[test]
fn a_json_log_has_one_line_for_each_operation_and_durations_in_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    command.args(["--log-format", "json", "--handler", "shout=sleep 0.2; cat"]);
    let mut server = Server::spawned(command, directory);
    let submitted = server.json(&["submit", "shout", "--start-in", "300ms", "--wait", "60s"]);
    let id = submitted["name"].as_str().unwrap().trim_start_matches("operations/").to_owned();
    // A worker of its own has nothing but its own lines.
    let mut worker = server.command(&["worker", "own", "--log-format", "json", "--", "cat"]);
    worker.stdout(Stdio::null()).stderr(Stdio::piped());
    let worker = worker.spawn().unwrap();
    server.expect(0, &["submit", "own", "--wait"]);
    signal(&worker, Signal::TERM);
    let said = String::from_utf8(worker.wait_with_output().unwrap().stderr).unwrap();
    signal(&server.process, Signal::TERM);
    assert_eq!(exit_code(&mut server.process), Some(0));
    let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();

    let about = |line: &&Value| line.to_string().contains(&id);
    let lines = documents(&log);
    let [line] = lines.iter().filter(about).collect::<Vec<_>>()[..] else { panic!("{log}") };
    assert_eq!(line["operation.kind"], "shout");
    assert_eq!(line["state"], "SUCCEEDED");
    let seconds = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    let (queue, run) = (seconds("queue_seconds"), seconds("run_seconds"));
    assert!((0.3..30.0).contains(&queue) && (0.2..30.0).contains(&run), "{line}");
    assert!((seconds("total_seconds") - queue - run).abs() < 1e-6, "{line}");
    assert!(said.contains("began") && said.contains("succeeded"), "{said}");
    for line in lines.iter().chain(&documents(&said)) {
        for (name, value) in line.as_object().unwrap() {
            assert!(!value.as_str().is_some_and(is_duration), "{name}: {line}");
        }
    }
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
