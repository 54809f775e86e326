//! A copy is served, and nobody can tell.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::copy::copy;
use crate::stored::store_in;
use crate::support::{Server, stderr};

/// What a server does with kinds whose ends differ. `chatty` drops log lines in its first attempt, which does not end.
const HANDLERS: [&str; 4] = [
    "shout=tr a-z A-Z",
    "fail=echo no such device >&2; exit 1",
    "noise=head -c 400000 /dev/zero",
    "chatty=case $LONGRUN_ATTEMPT in 1) seq 1 1100 >&2; exec sleep 20;; *) echo again >&2;; esac",
];

pub(crate) fn serve(store: &str, handlers: &[&str]) -> Server {
    Server::over(store, tempfile::tempdir().unwrap(), handlers)
}

/// Asks again until the answer is there.
pub(crate) fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn names(server: &Server) -> Vec<String> {
    let list = server.json(&["list", "--all"]);
    let operations = list["operations"].as_array().unwrap().iter();
    operations.map(|operation| operation["name"].as_str().unwrap().to_owned()).collect()
}

/// Numbers of the log lines of an operation.
fn lines(server: &Server, name: &str) -> Vec<u64> {
    let events = server.expect(0, &["events", name, "--json"]);
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let numbers = events
        .filter_map(|event| Some(event.get("log")?.get("number")?.as_str()?.parse().unwrap()));
    numbers.collect()
}

/// All that can be asked about an operation.
fn story(server: &Server, name: &str) -> [String; 3] {
    let result = server.command(&["result", name]).output().unwrap();
    let result = format!("{:?} {:?} {}", result.status.code(), result.stdout, stderr(&result));
    let get = server.json(&["get", name]);
    [get.to_string(), server.expect(0, &["events", name, "--json"]), result]
}

#[test]
fn a_copy_goes_on_where_the_store_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let [from, to] = ["from.db", "to.db"].map(|name| store_in(directory.path(), name));
    let large = directory.path().join("large");
    std::fs::write(&large, vec![b'a'; 300_000]).unwrap();

    let mut server = serve(&from, &HANDLERS);
    let large = format!("@{}", large.display());
    let keyed = server.submit(&["shout", "hello", "-k", "order-1", "-l", "team=maps", "--wait"]);
    let settled = [
        server.submit(&["noise", &large, "--wait"]),
        server.submit(&["nobody", "x", "--priority", "7"]),
        server.submit(&["shout", "later", "--start-in", "1h"]),
        server.submit(&["nobody"]),
        keyed.clone(),
    ];
    server.expect(0, &["cancel", &settled[3]]);
    let failed = server.expect(3, &["submit", "fail", "--wait", "--quiet"]);
    let settled = [&settled[..], &[failed.trim().to_owned()]].concat();
    let forgotten = server.submit(&["shout", "gone", "--retention", "0s"]);
    let gone = |server: &Server| {
        let output = server.command(&["get", &forgotten]).output().unwrap();
        (!output.status.success()).then(|| stderr(&output))
    };
    let words = until(|| gone(&server));
    let chatty = server.submit(&["chatty"]);
    until(|| (lines(&server, &chatty).last() == Some(&1_100)).then_some(()));
    assert_eq!(lines(&server, &chatty)[0], 101);
    let before: Vec<_> = settled.iter().map(|name| story(&server, name)).collect();
    let list = names(&server);
    server.process.kill().unwrap();
    server.process.wait().unwrap();

    let summary = copy(&[&from, &to]);
    assert_eq!(summary["copied"]["objects"], 2);
    assert_eq!(summary["copied"]["tombstones"], 1);
    std::fs::remove_dir_all(Path::new(&format!("{}.objects", &from["sqlite:".len()..]))).unwrap();
    let server = serve(&to, &HANDLERS);
    assert_eq!(names(&server), list);
    for (name, before) in settled.iter().zip(before) {
        assert_eq!(story(&server, name), before);
    }
    assert_eq!(gone(&server), Some(words));
    assert_eq!(server.submit(&["shout", "hello", "-k", "order-1", "-l", "team=maps"]), keyed);
    let other = server.command(&["submit", "shout", "other", "-k", "order-1"]).output().unwrap();
    assert_eq!(other.status.code(), Some(1));

    // What ran is run again, and its lines are numbered on.
    server.expect(0, &["wait", &chatty]);
    assert_eq!(server.json(&["get", &chatty])["attempt"], 2);
    let numbers = lines(&server, &chatty);
    assert_eq!((numbers[0], numbers.last()), (102, Some(&1_101)));
}
