//! `longrun bench`: what it counts is what happened.

use serde_json::Value;

use crate::support::*;

fn records(args: &[&str]) -> Vec<Value> {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_operation_is_counted_however_its_end_is_learned() {
    let server = Server::start(&[]);
    for (run, watch) in ["feed", "operation", "submit", "wait"].into_iter().enumerate() {
        let args = ["bench", "--json", "--server", &server.url, "--watch", watch];
        let more = ["--count", "60", "--clients", "7", "--kinds", "2", "--workers", "2"];
        let records = records(&[&args[..], &more].concat());
        let [summary] = &records[..] else { panic!("one document: {records:?}") };
        assert_eq!(summary["submits"], 60, "{watch}: {summary}");
        assert_eq!(summary["lives"], 60, "{watch}: {summary}");
        assert_eq!(summary["failed"], 0, "{watch}: {summary}");
        for latency in ["submit", "push", "end"] {
            let p50 = summary["latencyMs"][latency]["p50"].as_f64();
            assert!(p50.is_some_and(|p50| p50 > 0.0), "{watch}: {summary}");
        }
        let listed = server.json(&["list", "--all", "--filter", "state=SUCCEEDED AND kind=bench*"]);
        let operations = listed["operations"].as_array().unwrap();
        assert_eq!(operations.len(), 60 * (run + 1));
    }
}

#[test]
fn it_brings_its_own_server_keeps_to_the_rate_and_tells_how_it_goes() {
    let args = ["bench", "--embedded", "--json", "--rate", "50", "--duration", "1s"];
    let more = ["--warmup", "0s", "--interval", "300ms", "--watch", "none", "--workers", "0"];
    let records = records(&[&args[..], &more].concat());
    let (summary, intervals) = records.split_last().unwrap();
    assert_eq!(summary["type"], "summary");
    assert!((1..=3).contains(&intervals.len()), "{records:?}");
    assert!(intervals.iter().all(|interval| interval["type"] == "interval"), "{records:?}");
    // However slow the machine is, no more are submitted than are due.
    let submits = summary["submits"].as_u64().unwrap();
    assert!((1..=60).contains(&submits), "{summary}");
    assert_eq!(summary["lives"], 0, "{summary}");
    assert!(summary["latencyMs"]["end"].is_null(), "{summary}");
}

#[test]
fn without_a_server_it_says_so() {
    let output = run(&["bench", "--server", "http://127.0.0.1:9", "--count", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("longrun serve"), "{}", stderr(&output));
}
