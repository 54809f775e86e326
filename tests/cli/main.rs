//! The program as people and scripts use it: what it prints, and how it exits.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use rustix::process::Signal;
use serde_json::Value;

mod batches;
mod bench;
mod commands;
mod config;
mod confinement;
mod contents;
mod endpoints;
mod gone;
mod guard;
mod hands;
mod hold;
mod idle;
mod keys;
mod limits;
mod names;
mod operate;
mod refusals;
mod secrets;
mod share;
mod silence;
mod support;
mod terminal;
mod unread;

use support::*;

const COMMANDS: [&str; 25] = [
    "serve",
    "submit",
    "get",
    "list",
    "share",
    "webhook",
    "limits",
    "watch",
    "wait",
    "cancel",
    "delete",
    "retry",
    "run-now",
    "result",
    "input",
    "events",
    "key",
    "kinds",
    "worker",
    "workers",
    "store",
    "config",
    "bench",
    "demo",
    "completions",
];

#[test]
fn help_teaches_by_examples() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    for part in ["Examples:", "Exit codes:", "LONGRUN_SERVER", "http://127.0.0.1:7420"] {
        assert!(stdout(&help).contains(part), "{part}");
    }
    for command in COMMANDS {
        assert!(stdout(&help).contains(command), "{command}");
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(stdout(&help).contains("Examples:"), "{command}");
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let lines: [&[&str]; 24] = [
        &[],
        &["submt"],
        &["watch"],
        &["watch", "x", "--filter", "done=true"],
        &["submit", "k", "--priority", "101"],
        &["submit", "k", "--retension=1h"],
        &["worker", "k"],
        &["list", "--all", "--limit", "3"],
        &["serve", "--store", "mysql:x"],
        &["serve", "--listen", "0.0.0.0:0"],
        &["serve", "--handler", "k=true", "--handler", "k=false"],
        &["get", "x", "--log", "longrun=loud"],
        &["get", "x", "--server", "http://"],
        &["get", "x", "--server", "https://127.0.0.1:9", "--ca", "nosuchfile"],
        &["get", "x", "--server", "http://127.0.0.1:9/path"],
        &["submit", "k", "--idempotency-key", ""],
        &["retry", "x", "--idempotency-key", ""],
        &["worker", "7", "--", "true"],
        &["worker", "k", "--", "nosuchcommand"],
        &["get", "x", "--log", "verbose"],
        &["bench", "--payload", "7"],
        &["bench", "--interval", "1ms"],
        &["bench", "--workers", "0"],
        &["bench", "--count", "1", "--duration", "1s"],
    ];
    for line in lines {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{line:?}");
    }
    let exposed = run(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(stderr(&exposed).contains("--insecure"), "{}", stderr(&exposed));
    let mistyped = run(&["submit", "k", "--retension=1h"]);
    assert!(stderr(&mistyped).contains("'--retention'"), "{}", stderr(&mistyped));
}

#[test]
fn a_wait_takes_its_time_with_a_blank_too() {
    let server = Server::start(&["echo=cat"]);
    for wait in [&["--wait", "100ms"][..], &["--wait=100ms"]] {
        server.expect(6, &[&["submit", "unserved"], wait].concat());
        server.expect(6, &[&["submit"], wait, &["unserved", "input"]].concat());
    }
    for line in [&["--wait", "echo", "hello"][..], &["echo", "hello", "--wait"]] {
        assert!(server.expect(0, &[&["submit"], line].concat()).contains("hello"));
    }
    // Behind -- it is the input.
    let name = server.submit(&["echo", "--wait", "--", "30s"]);
    assert_eq!(server.expect(0, &["result", &name]), "30s");
}

#[test]
fn an_input_may_begin_with_a_dash_where_it_cannot_be_a_flag() {
    let server = Server::start(&["echo=cat"]);
    for (args, input) in [(&["--", "--retension=1h"][..], "--retension=1h"), (&["-7.5"], "-7.5")] {
        let name = server.submit(&[&["echo"], args].concat());
        server.expect(0, &["wait", &name]);
        assert_eq!(server.expect(0, &["result", &name]), input);
    }
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success());
        assert!(stdout(&output).contains("LONGRUN_COMPLETE"), "{shell}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let server = "http://127.0.0.1:9";
    for line in [&["get", "x"][..], &["list"], &["submit", "k"], &["result", "x"]] {
        let output = run(&[line, &["--server", server]].concat());
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        let said = stderr(&output);
        assert!(said.starts_with("error: failed to "), "{said}");
        assert!(said.contains(&format!("\n  no response from {server}")), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_worker_names_the_server_that_it_does_not_reach() {
    let server = "http://127.0.0.1:9";
    let mut worker = longrun(&["worker", "k", "--server", server, "--", "true"]);
    let mut worker = worker.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(worker.stderr.take().unwrap()).lines().map(Result::unwrap);
    let warned = lines.find(|line| line.contains("WARN"));
    worker.kill().unwrap();
    worker.wait().unwrap();
    let warned = warned.unwrap();
    assert!(warned.contains(&format!("server=\"{server}\"")), "{warned}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    for line in [&["completions", "bash"][..], &["--help"], &["demo"]] {
        let mut process = longrun(line);
        let mut process = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(process.stdout.take());
        assert_eq!(exit_code(&mut process), Some(0), "{line:?}");
        let mut said = String::new();
        process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "{line:?}");
    }
}

#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let server = Server::start(&[]);
    server.submit(&["k"]);
    for line in [&["--help"][..], &["--version"], &["help", "list"], &["list"], &["list", "--json"]]
    {
        let mut command = server.command(line);
        let output = command.stdout(full.try_clone().unwrap()).stderr(Stdio::piped()).spawn();
        let output = output.unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        assert!(stderr(&output).contains("failed to write to stdout"), "{}", stderr(&output));
    }
}

#[test]
fn a_life_from_submission_to_result() {
    let server = Server::start(&["shout=echo on its way >&2; echo 50% half >&3; tr a-z A-Z"]);
    let shown = server.expect(0, &["submit", "shout", "hello", "--wait", "--label", "a=b"]);
    assert!(shown.contains("SUCCEEDED, revision 3") && shown.contains("HELLO"), "{shown}");
    assert!(shown.contains("labels") && shown.contains("a=b"), "{shown}");

    let name = server.submit(&["shout", "{\"n\": 1.00}", "-k", "once"]);
    assert_eq!(server.submit(&["shout", "{\"n\": 1.00}", "-k", "once"]), name);
    let watched = server.expect(0, &["watch", &name, "--after-revision", "0"]);
    let states: Vec<&str> = watched.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!(states.first(), Some(&"QUEUED"), "{watched}");
    assert!(watched.contains("SUCCEEDED   done, after"), "{watched}");
    let id = name.strip_prefix("operations/").unwrap();
    assert_eq!(server.expect(0, &["result", id]), "{\"N\": 1.00}");
    let operation = server.json(&["get", id]);
    assert_eq!(operation["state"], "STATE_SUCCEEDED");
    assert_eq!(operation["input"]["contentType"], "application/json");

    let events = server.expect(0, &["events", &name]);
    let lines: Vec<&str> = events.lines().collect();
    assert!(lines[0].starts_with("TIME") && lines[0].ends_with("TEXT"), "{events}");
    assert!(lines[3].contains("LOG") && lines[3].ends_with("on its way"), "{events}");
    let records = server.expect(0, &["events", &name, "--json"]);
    assert!(records.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert_eq!(records.lines().count(), 4);
}

#[test]
fn results_are_written_to_files_whole_or_not_at_all() {
    let server = Server::start(&["noise=head -c 300000 /dev/zero"]);
    let name = server.submit(&["noise", "--wait"]);
    let path = server.directory.path().join("result");
    let file = path.to_str().unwrap();
    let answer = server.json(&["result", &name, "-o", file]);
    assert_eq!(answer["sizeBytes"], 300_000);
    assert_eq!(std::fs::read(&path).unwrap(), vec![0; 300_000]);
    let output = server.command(&["result", "operations/x", "-o", file]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 300_000, "a failure left it alone");
}

#[test]
fn exit_codes_tell_outcomes_from_failures() {
    let server = Server::start(&["fail=echo no such device >&2; exit 1", "slow=sleep 60"]);
    let failed = server.expect(3, &["submit", "fail", "--watch"]);
    // Seen as it happened, or found so when the watch began.
    let last = failed.lines().next_back().unwrap_or_default();
    assert!(last.contains("FAILED ") && last.contains("EXIT_1: no such device"), "{failed}");
    let slow = server.submit(&["slow"]);
    server.expect(6, &["wait", &slow, "--timeout", "200ms"]);
    server.expect(6, &["submit", "slow", "--wait=200ms"]);
    let cancelled = server.expect(0, &["cancel", &slow, "--reason", "enough"]);
    assert!(cancelled.starts_with(&slow), "{cancelled}");
    assert!(server.expect(4, &["wait", &slow]).contains("enough"));
    let missing = server.command(&["get", "nonsense"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).starts_with("error: failed to get nonsense\n  "));
}

#[test]
fn lists_are_tables_or_one_document() {
    let server = Server::start(&["fail=exit 1"]);
    for _ in 0..5 {
        server.submit(&["nobody"]);
    }
    server.expect(3, &["submit", "fail", "--wait"]);
    let table = server.expect(0, &["list"]);
    assert_eq!(table.lines().count(), 7, "{table}");
    assert!(table.starts_with("ID "), "{table}");
    let page = server.json(&["list", "--filter", "kind=nobody", "--limit", "3"]);
    assert_eq!(page["operations"].as_array().unwrap().len(), 3);
    let token = page["nextPageToken"].as_str().unwrap();
    let next = ["list", "--filter", "kind=nobody", "--all", "--page-token", token];
    let rest = server.json(&next);
    assert_eq!(rest["operations"].as_array().unwrap().len(), 2);
    assert_eq!(rest.get("nextPageToken"), None);
    assert_eq!(server.json(&["list", "--filter", "kind=none"])["operations"], Value::Array(vec![]));
}

#[test]
fn done_operations_can_be_retried_and_deleted() {
    let server = Server::start(&["fail=exit 1"]);
    let first = server.submit(&["fail", "input"]);
    server.expect(3, &["wait", &first]);
    let again = server.json(&["retry", &first]);
    assert_eq!(again["retryOf"], first.as_str());
    server.expect(3, &["wait", again["name"].as_str().unwrap()]);
    let gone = server.submit(&["fail"]);
    server.expect(3, &["wait", &gone]);
    server.expect(0, &["delete", &gone]);
    let deleted = server.expect(1, &["delete", &gone, &first]);
    assert_eq!(deleted, format!("{first} deleted\n"), "one that is refused stops no other");
    server.expect(1, &["get", &first]);
    let queued = server.submit(&["nobody"]);
    let cancelled = server.expect(1, &["cancel", &first, &queued]);
    assert!(cancelled.starts_with(&queued), "{cancelled}");
}

#[test]
fn interrupted_waits_say_that_the_operation_goes_on() {
    let server = Server::start(&[]);
    let name = server.submit(&["nobody"]);
    for line in [&["wait", &name][..], &["watch", &name]] {
        let mut command = server.command(line);
        let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until_caught(&waiting);
        signal(&waiting, Signal::INT);
        assert_eq!(exit_code(&mut waiting), Some(130), "{line:?}");
        let mut said = String::new();
        waiting.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains(&format!("{name} goes on")), "{said}");
    }
}

#[test]
fn a_server_that_is_not_ready_yet_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    drop(SqliteStore::open(&path, &SqliteOptions::default()).unwrap());
    // Somebody has the file: the server waits for some seconds before it gives up.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let store = format!("sqlite:{}", path.display());
    let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    let mut server = command.stderr(Stdio::null()).spawn().unwrap();
    until_caught(&server);
    signal(&server, Signal::TERM);
    assert_eq!(exit_code(&mut server), Some(143));
}

#[test]
fn many_are_watched_by_a_filter() {
    let server = Server::start(&[]);
    let name = server.submit(&["nobody"]);
    let mut command = server.command(&["watch", "--filter", "kind=nobody", "--json"]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!(
        (&first["type"], &first["operation"]["name"]),
        (&"TYPE_CURRENT".into(), &name.as_str().into())
    );
    assert_eq!(next()["type"], "TYPE_SYNCED");
    server.expect(0, &["cancel", &name]);
    assert_eq!(next()["operation"]["state"], "STATE_CANCELLED");
    signal(&watch, Signal::TERM);
    assert_eq!(exit_code(&mut watch), Some(143));
}

#[test]
fn a_worker_runs_a_command_until_it_is_told_to_stop() {
    let server = Server::start(&[]);
    let mut command = server.command(&["worker", "count", "--worker-id", "w-1", "--", "wc", "-c"]);
    let mut worker = command.stderr(Stdio::null()).spawn().unwrap();
    let operation = server.json(&["submit", "count", "12345", "--wait"]);
    assert_eq!(operation["workerId"], "w-1");
    assert_eq!(operation["result"]["text"].as_str().unwrap().trim(), "5");
    signal(&worker, Signal::TERM);
    assert_eq!(exit_code(&mut worker), Some(0));
}

#[test]
fn a_server_that_is_told_to_stop_gives_work_back_and_goes_on_later() {
    let mut server = Server::start(&["slow=sleep 60"]);
    let name = server.submit(&["slow"]);
    let running = ["watch", "--filter", "state=RUNNING", "--json"];
    let mut watch = server.command(&running).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("STATE_RUNNING") {}
    watch.kill().unwrap();
    watch.wait().unwrap();
    let began = Instant::now();
    signal(&server.process, Signal::TERM);
    assert_eq!(exit_code(&mut server.process), Some(0));
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
    let store = format!("sqlite:{}", server.directory.path().join("test.db").display());
    let mut again = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    server.process = again.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    server.url = line.trim().strip_prefix("longrun listening on ").unwrap().to_owned();
    assert_eq!(server.json(&["get", &name])["state"], "STATE_QUEUED");
}

#[test]
fn a_server_that_lets_its_handlers_finish_takes_no_new_work() {
    let go = tempfile::tempdir().unwrap();
    let handler = format!("slow=until [ -e {}/go ]; do sleep 0.05; done", go.path().display());
    let mut server = Server::start(&[&handler]);
    let name = server.submit(&["slow"]);
    let watch = server.command(&["watch", &name, "--json"]).stdout(Stdio::piped()).spawn();
    let mut watch = watch.unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("STATE_RUNNING")));
    let ask = |request: &str| {
        let mut socket = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        write!(socket, "{head}Content-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("GET /readyz").starts_with("HTTP/1.1 200 "));
    signal(&server.process, Signal::TERM);
    let began = Instant::now();
    while ask("GET /readyz").starts_with("HTTP/1.1 200 ") {
        assert!(began.elapsed() < Duration::from_secs(4), "it goes on as if nothing had happened");
    }
    assert!(ask("GET /readyz").starts_with("HTTP/1.1 503 "));
    let refused = ask("POST /v1/kinds/slow/operations");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.to_lowercase().contains("retry-after: "), "{refused}");
    assert!(ask("GET /livez").starts_with("HTTP/1.1 200 "));
    std::fs::write(go.path().join("go"), "").unwrap();
    assert!(lines.any(|line| line.unwrap().contains("STATE_SUCCEEDED")));
    assert_eq!(exit_code(&mut server.process), Some(0));
    assert_eq!(exit_code(&mut watch), Some(0));
}

#[test]
fn the_demo_shows_everything_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output = longrun(&["demo"]).env("TMPDIR", directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    for part in ["HTTP/1.1 202", "HTTP/1.1 303", "HTTP/1.1 200", "CANCELLED", "as it should be"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(is_empty(directory.path()));
}

#[test]
fn an_interrupted_demo_leaves_nothing_either() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = longrun(&["demo"]);
    command.env("TMPDIR", directory.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = command.spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let began = Instant::now();
    lines.next().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    while !lines.next().unwrap().unwrap().contains("RUNNING") {}
    signal(&demo, Signal::INT);
    for _ in lines {}
    assert_eq!(exit_code(&mut demo), Some(130));
    assert!(is_empty(directory.path()));
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}
