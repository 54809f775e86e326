//! What follows redirects reaches the upstream's very answer through the relay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::api::{Exchange, exchanges, relay};
use crate::support::{python, succeed};

/// Held until it is done; and, under a key whose operation is done, sent from there to the result.
const WISHES: [(&str, u64); 2] = [("respond-async, wait=30", 0), ("respond-async", 2)];

#[tokio::test]
async fn curl_ends_with_the_upstreams_very_bytes() {
    let (server, _api) = relay(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    for exchange in exchanges() {
        for (wish, redirects) in WISHES {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--location", "--max-time", "60"]);
            curl.args(["--header", &format!("Prefer: {wish}")]);
            curl.args(["--header", &format!("Idempotency-Key: {}", exchange.path)]);
            // curl's own content_type may be that of a redirect before.
            curl.args(["--write-out", "%{json}\n%header{content-type}\n%header{location}"]);
            curl.arg("--output").arg(&file);
            if exchange.method == "POST" {
                curl.args(["--data-binary", exchange.request]);
            }
            curl.arg(format!("{}/api{}?slow", server.url, exchange.path));
            let printed = String::from_utf8(succeed(curl).await.stdout).unwrap();
            let lines: Vec<&str> = printed.split('\n').collect();
            let facts: Value = serde_json::from_str(lines[0]).unwrap();
            let answer = json!({
                "status": facts["http_code"],
                "redirects": facts["num_redirects"],
                "content_type": lines[1],
                "location": lines[2],
                "body": STANDARD.encode(std::fs::read(&file).unwrap_or_default()),
            });
            check(&exchange, redirects, &answer);
            let _ = std::fs::remove_file(&file);
        }
    }
}

#[tokio::test]
async fn pythons_requests_ends_with_the_upstreams_very_bytes() {
    let (server, _api) = relay(&[]).await;
    let case = |exchange: &Exchange, wish: &str| {
        json!({
            "method": exchange.method,
            "url": format!("{}/api{}?slow", server.url, exchange.path),
            "headers": {
                "Prefer": wish,
                "Idempotency-Key": exchange.path,
                "Content-Type": "application/x-www-form-urlencoded",
            },
            "body": exchange.request,
        })
    };
    let exchanges = exchanges();
    let cases = exchanges.iter().flat_map(|it| WISHES.map(|(wish, _)| case(it, wish)));
    let cases: Vec<Value> = cases.collect();
    let answers = python("requests_follow.py", &[&json!(cases).to_string()]).await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), cases.len());
    for (exchange, answers) in exchanges.iter().zip(answers.chunks(WISHES.len())) {
        for ((_, redirects), answer) in WISHES.iter().zip(answers) {
            check(exchange, *redirects, answer);
        }
    }
}

#[track_caller]
fn check(exchange: &Exchange, redirects: u64, answer: &Value) {
    let mut answer = answer.clone();
    if !exchange.location.is_empty() {
        // Absolute, because it is replayed at another URL; and at the mount.
        let location = answer["location"].as_str().unwrap_or_default();
        let (server, path) = location.split_once("/api/").unwrap_or_default();
        assert!(server.starts_with("http://127.0.0.1:"), "{}: {location}", exchange.path);
        answer["location"] = format!("/{path}").into();
    }
    let expected = json!({
        "status": exchange.status,
        "redirects": redirects,
        "content_type": exchange.content_type,
        "location": exchange.location,
        "body": STANDARD.encode(&exchange.body),
    });
    assert!(answer == expected, "{}: {answer:.500}, not {expected:.500}", exchange.path);
}
