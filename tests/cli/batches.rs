//! `longrun batch`: children of lines and files, what is shown of them, and servers that die in between.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Server, run, stderr, stdout};

const SQUARE: &str = "square=read n; test \"$n\" != 3 && echo $((n * n))";

/// A file of numbers.
fn numbers(server: &Server, count: usize) -> String {
    let path = server.directory.path().join("numbers");
    let lines: String = (1..=count).map(|number| format!("{number}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    path.display().to_string()
}

#[test]
fn a_batch_is_submitted_watched_and_tried_again() {
    let server = Server::start(&[SQUARE]);
    let file = numbers(&server, 5);
    let once = ["--max-attempts", "1"];
    let batch = [&["batch", "square", &file, "--rule", "max-failures=1", "--watch"][..], &once];
    let shown = server.expect(5, &batch.concat());
    assert!(shown.contains("PARTIALLY_SUCCEEDED"), "{shown}");
    let batches = server.json(&["list", "--kind", "longrun.batch"]);
    let name = batches["operations"][0]["name"].as_str().unwrap().to_owned();
    let page = server.expect(0, &["get", &name]);
    assert!(page.contains("children   5: 4 succeeded, 1 failed"), "{page}");
    let children = server.json(&["list", "--parent", &name, "--all"]);
    assert_eq!(children["operations"].as_array().unwrap().len(), 5);
    assert!(children["operations"].as_array().unwrap().iter().all(|it| it["parent"] == name));
    let failed = server.expect(0, &["list", "--parent", &name, "--state", "failed", "-o", "name"]);
    assert!(server.expect(0, &["get", failed.trim()]).contains("parent"), "{failed}");

    let gone = children["operations"][0]["name"].as_str().unwrap();
    server.expect(0, &["delete", gone]);
    let page = server.expect(0, &["get", &name]);
    assert!(page.contains("1 failed (1 deleted since)"), "{page}");

    let again = server.expect(0, &["retry", &name, "--quiet"]);
    server.expect(5, &["wait", again.trim()]);
    let retried = server.json(&["get", again.trim()]);
    assert_eq!((&retried["retryOf"], &retried["children"]["failed"]), (&name.into(), &"1".into()));

    let all = server.command(&[&["batch", "square", &file, "--wait"][..], &once].concat());
    let all = { all }.output().unwrap();
    assert_eq!(all.status.code(), Some(3), "{}", stderr(&all));
    assert!(stdout(&all).contains("BATCH_FAILED"), "{}", stdout(&all));
    // What is wrong with each child is said once.
    let refused = server.command(&["batch", "longrun.batch", &file]).output().unwrap();
    let said = stderr(&refused);
    assert_eq!(said.matches("must not be longrun.batch").count(), 1, "{said}");
    assert!(said.contains("(4 others break the same rule)"), "{said}");
    let none = run(&["batch", "square", "/dev/null"]);
    assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
}

#[test]
fn a_batch_takes_more_children_while_it_is_open() {
    let server = Server::start(&["cat=cat"]);
    let file = numbers(&server, 2_500);
    let key = ["--idempotency-key", "many", "--quiet"];
    let batch = [&["batch", "nobody", &file][..], &key].concat();
    let name = server.expect(0, &batch).trim().to_owned();
    assert_eq!(server.expect(0, &batch).trim(), name, "the same command, the same batch");
    assert_eq!(server.json(&["get", &name])["children"]["total"], "2500");
    let child = server.submit(&["cat", "x", "--parent", &name, "--wait"]);
    assert_eq!(server.json(&["get", &child])["parent"], name.as_str());
    server.expect(0, &["cancel", &name, "--reason", "enough"]);
    server.expect(4, &["wait", &name]);
    let counts = &server.json(&["get", &name])["children"];
    assert_eq!((&counts["cancelled"], &counts["succeeded"]), (&"2500".into(), &"1".into()));
    let late = server.command(&["submit", "cat", "x", "--parent", &name]).output().unwrap();
    assert_eq!(late.status.code(), Some(1));
    assert!(stderr(&late).contains("PARENT_NOT_OPEN"), "{}", stderr(&late));
}

#[test]
fn a_server_that_is_killed_again_and_again_ends_a_batch_once_by_its_rule() {
    let place = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", place.path().join("test.db").display());
    let start = |handler: &str| Server::over(&store, tempfile::tempdir().unwrap(), &[handler]);
    // About one in three fails.
    let slow = "slow=read n; sleep 0.05; test $((n % 3)) != 0";
    let mut server = start(slow);
    let file = numbers(&server, 60);
    let batch = ["batch", "slow", &file, "--rule", "max-failures=40", "--max-attempts", "1"];
    let name = server.expect(0, &[&batch[..], &["--quiet"]].concat()).trim().to_owned();
    let done = |server: &Server| -> Value { server.json(&["get", &name]) };
    let began = Instant::now();
    for round in 1..=3_i64 {
        let ended = |counts: &Value| -> i64 {
            let of = |state: &str| counts[state].as_str().map_or(0, |it| it.parse().unwrap());
            of("succeeded") + of("failed")
        };
        while ended(&done(&server)["children"]) < 8 * round {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", done(&server));
            std::thread::sleep(Duration::from_millis(50));
        }
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        server = start(slow);
    }
    server.expect(5, &["wait", &name, "--timeout", "60s"]);
    let operation = done(&server);
    let counts = &operation["children"];
    // Those that ran when a server was killed have failed with it, as their policy has it.
    let of = |state: &str| counts[state].as_str().map_or(0, |it| it.parse::<i64>().unwrap());
    assert_eq!((of("total"), of("succeeded") + of("failed")), (60, 60), "{counts}");
    assert!(of("failed") >= 20, "{counts}");
    let events = server.expect(0, &["events", &name, "--json"]);
    assert_eq!(events.matches("TYPE_FINISHED").count(), 1, "{events}");
    assert!(operation["attempt"].as_i64().unwrap() >= 4, "{operation}");
}
