//! The transcripts of `transcripts/`: what a client of each document sends, and what it must get.
//!
//! A block of `>` is a request, of `<` the answer to it, of `=` something that happens behind the server; all else is
//! for readers. Where a request is followed by a happening, it is held until then. `‹name›` stands for a text that is
//! the same wherever it occurs, `‹#name›` for such a number, `‹_›` for any text; `‹url›` is the server's own address.
//! Of the header fields those are compared that stand there; JSON is compared as such, with its members in order, also
//! as the data of events.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use http::StatusCode;
use longrun::worker::{Failure, Outcome, Problem};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::{Answer, STANDARDS, Setup, Work, ask, soon};

#[tokio::test]
async fn clients_of_all_five_documents_are_served_by_one_server() {
    let setup = Arc::new(Setup::five().await);
    for name in
        ["bulk-api", "background-job", "background-request", "job-object", "async-parameter"]
    {
        play(&setup, name).await;
    }
}

#[tokio::test]
async fn clients_of_published_standards_are_served_by_one_server() {
    let files =
        [("ogc-processes.toml", include_str!("../../examples/dialects/ogc-processes.toml"))];
    let setup = Arc::new(Setup::new(STANDARDS, &files).await);
    for name in [
        "operation-location",
        "fhir-async",
        "redfish-task",
        "ga4gh-tes",
        "openai-responses",
        "ogc-processes",
    ] {
        play(&setup, name).await;
    }
}

/// Plays a transcript.
pub async fn play(setup: &Setup, name: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialects/transcripts");
    let text = std::fs::read_to_string(format!("{folder}/{name}.txt")).expect("a transcript");
    let mut player = Player {
        setup,
        name,
        line: 0,
        names: HashMap::from([("url".to_owned(), format!("http://{}", setup.addr))]),
        asked: None,
        work: Vec::new(),
    };
    let blocks = blocks(&text);
    assert!(blocks.len() > 2, "{name} says nothing");
    for (at, block) in blocks.iter().enumerate() {
        player.line = block.line;
        let next = blocks.get(at + 1).map(|next| next.mark);
        match block.mark {
            '>' => player.request(&block.lines, next == Some('=')).await,
            '<' => player.answer(&block.lines).await,
            _ => player.happen(&block.lines).await,
        }
    }
    assert!(player.asked.is_none(), "{name} ends with a request");
}

struct Block<'a> {
    mark: char,
    line: usize,
    lines: Vec<&'a str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut is_open = false;
    for (at, line) in text.lines().enumerate() {
        let mark = line.chars().next().filter(|mark| ['>', '<', '='].contains(mark));
        let Some(mark) = mark else {
            is_open = false;
            continue;
        };
        let rest = &line[1..];
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match blocks.last_mut().filter(|last| is_open && last.mark == mark) {
            Some(last) => last.lines.push(rest),
            None => blocks.push(Block { mark, line: at + 1, lines: vec![rest] }),
        }
        is_open = true;
    }
    blocks
}

struct Player<'a> {
    setup: &'a Setup,
    name: &'a str,
    line: usize,
    names: HashMap<String, String>,
    asked: Option<JoinHandle<Answer>>,
    work: Vec<Work>,
}

impl Player<'_> {
    /// The text with what is known in place of names.
    fn known(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("‹{name}›"), value))
    }

    fn place(&self) -> String {
        format!("{}.txt, line {}", self.name, self.line)
    }

    async fn request(&mut self, lines: &[&str], is_held: bool) {
        let lines: Vec<String> = lines.iter().map(|line| self.known(line)).collect();
        let (method, target) = lines[0].split_once(' ').expect("a method and a target");
        let (method, url) = (method.to_owned(), self.setup.url(target));
        let (headers, body) = message(&lines[1..]);
        let call = async move {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            ask(&method, &url, &headers, Body::from(body)).await
        };
        let asked = tokio::spawn(call);
        if is_held {
            // Later requests are answered meanwhile.
            for _ in 0..5 {
                self.setup.get("/v1/operations").await.expect(200);
            }
            assert!(!asked.is_finished(), "{} was answered at once", self.place());
        }
        self.asked = Some(asked);
    }

    async fn answer(&mut self, lines: &[&str]) {
        let asked = self.asked.take().expect("a request");
        let answer = soon(asked).await.expect("an answer");
        let (place, said) = (self.place(), String::from_utf8_lossy(&answer.body).into_owned());
        assert_eq!(answer.status.to_string(), lines[0], "{place}: {said}");
        let owned: Vec<String> = lines[1..].iter().map(|line| (*line).to_owned()).collect();
        let (headers, body) = message(&owned);
        for (name, value) in headers {
            let is = answer.header(&name.to_ascii_lowercase()).to_owned();
            assert!(self.fits(&value, &is), "{place}: {name} is {is:?}, not {value:?}");
        }
        if body.is_empty() {
            return;
        }
        match answer.header("content-type") {
            media_type if media_type.starts_with("text/event-stream") => self.events(&body, &said),
            media_type if media_type.contains("json") => self.json(&body, &said),
            _ => assert_eq!(said.trim_end(), body.trim_end(), "{place}"),
        }
    }

    fn json(&mut self, expected: &str, is: &str) {
        let place = self.place();
        let json = |text: &str| serde_json::from_str::<Value>(text);
        let is = json(is).unwrap_or_else(|error| panic!("{place}: {error}: {is}"));
        let expected = json(expected).unwrap_or_else(|error| panic!("{place}: {error}"));
        if let Err(difference) = self.compare(&expected, &is, "") {
            panic!("{place}: {difference}\n{is:#}");
        }
    }

    /// Compares the events of a stream: what is said, and the data as JSON.
    fn events(&mut self, expected: &str, is: &str) {
        let place = self.place();
        let lines = |text: &str| {
            let fields = ["event", "id", "data"];
            let lines = text.lines().filter(|line| {
                line.split_once(": ").is_some_and(|(field, _)| fields.contains(&field))
            });
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let (expected, is) = (lines(expected), lines(is));
        for (expected, is) in expected.iter().zip(&is) {
            match (expected.strip_prefix("data: "), is.strip_prefix("data: ")) {
                (Some(expected), Some(is)) => self.json(expected, is),
                _ => assert!(self.fits(expected, is), "{place}: {is}, not {expected}"),
            }
        }
        assert_eq!(is.len(), expected.len(), "{place}: {is:#?}");
    }

    fn compare(&mut self, expected: &Value, is: &Value, at: &str) -> Result<(), String> {
        match (expected, is) {
            (Value::Object(expected), Value::Object(is)) => {
                if !expected.keys().eq(is.keys()) {
                    let keys = |of: &serde_json::Map<String, Value>| {
                        of.keys().cloned().collect::<Vec<_>>()
                    };
                    return Err(format!("{at} has {:?}, not {:?}", keys(is), keys(expected)));
                }
                expected.iter().try_for_each(|(key, value)| {
                    self.compare(value, &is[key], &format!("{at}.{key}"))
                })
            }
            (Value::Array(expected), Value::Array(is)) if expected.len() == is.len() => expected
                .iter()
                .zip(is)
                .enumerate()
                .try_for_each(|(n, (a, b))| self.compare(a, b, &format!("{at}[{n}]"))),
            (Value::String(expected), Value::Number(is)) if expected.starts_with("‹#") => {
                // A number has the names that texts have.
                let fits = self.fits(&expected.replace("‹#", "‹"), &is.to_string());
                fits.then_some(()).ok_or_else(|| format!("{at} is {is}, not {expected}"))
            }
            (Value::String(expected), Value::String(is)) if !expected.starts_with("‹#") => {
                let fits = self.fits(expected, is);
                fits.then_some(()).ok_or_else(|| format!("{at} is {is:?}, not {expected:?}"))
            }
            (expected, is) if expected == is => Ok(()),
            (expected, is) => Err(format!("{at} is {is}, not {expected}")),
        }
    }

    /// Whether the text is as expected. New names take what stands in their places.
    fn fits(&mut self, expected: &str, is: &str) -> bool {
        let expected = self.known(expected);
        let Some((before, rest)) = expected.split_once('‹') else { return expected == is };
        let (name, after) = rest.split_once('›').expect("a name that ends");
        let Some(left) = is.strip_prefix(before) else { return false };
        let next = after.split('‹').next().unwrap_or_default();
        let end = if next.is_empty() { Some(left.len()) } else { left.find(next) };
        let Some(end) = end else { return false };
        let (value, left) = left.split_at(end);
        if value.is_empty() {
            return false;
        }
        if !name.starts_with('_') {
            self.names.insert(name.to_owned(), value.to_owned());
        }
        self.fits(after, left)
    }

    async fn happen(&mut self, lines: &[&str]) {
        let lines: Vec<String> = lines.iter().map(|line| self.known(line)).collect();
        let (what, rest) = lines[0].split_once(' ').unwrap_or((&lines[0], ""));
        let body = lines[1..].join("\n");
        let json = || serde_json::from_str::<Value>(&body).expect("JSON");
        match what {
            "api" => {
                let call = self.setup.call().await;
                let (headers, body) = message(&lines[1..]);
                let mut response = axum::response::Response::new(Body::from(body));
                *response.status_mut() = rest.parse::<StatusCode>().expect("a status");
                for (name, value) in headers {
                    let name: http::HeaderName = name.parse().expect("a name");
                    response.headers_mut().insert(name, value.parse().expect("a value"));
                }
                let _ = call.answer.send(response);
            }
            "begins" => {
                let work = self.setup.work().await;
                let target = work.context.input().http().expect("a request").target.clone();
                assert_eq!(target, rest, "{}", self.place());
                self.work.push(work);
            }
            "succeeds" => {
                let outcome = if body.is_empty() {
                    Outcome::empty()
                } else {
                    Outcome::json(&json()).expect("JSON")
                };
                self.end(Ok(outcome)).await;
            }
            "succeeds-with" => self.end(Ok(Outcome::bytes(rest, body))).await,
            "stops" => self.end(Err(Failure::permanent("STOPPED", "told to"))).await,
            "succeeds-partly" => {
                let said = json();
                let outcome = Outcome::json(&said["result"]).expect("JSON");
                let errors = said["errors"].as_array().expect("errors").iter();
                self.end(Ok(errors.map(problem).fold(outcome, Outcome::with_error))).await;
            }
            "fails" => {
                let failure = Failure::from_problem(problem(&json()));
                self.end(Err(failure.into_permanent())).await;
            }
            other => panic!("{}: nobody knows what {other} is", self.place()),
        }
    }

    /// Ends the work, and waits until that is known.
    async fn end(&mut self, outcome: Result<Outcome, Failure>) {
        let work = self.work.pop().expect("work that has begun");
        let name = work.context.name().to_owned();
        let _ = work.end.send(outcome);
        let status = self.setup.get(&format!("/v1/{name}/status?wait=10")).await.expect(200);
        assert_eq!(status.json()["done"], true, "{}", self.place());
    }
}

fn problem(said: &Value) -> Problem {
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    let problem = Problem::new(text("code"), text("message"));
    let causes = said["causes"].as_array().into_iter().flatten();
    let problem = causes.map(problem_of).fold(problem, Problem::with_cause);
    match said["id"].as_str() {
        Some(id) => problem.with_metadata("id", id),
        None => problem,
    }
}

fn problem_of(said: &Value) -> Problem {
    problem(said)
}

/// Header fields, and behind an empty line the body.
fn message(lines: &[String]) -> (Vec<(String, String)>, String) {
    let end = lines.iter().position(String::is_empty).unwrap_or(lines.len());
    let headers = lines[..end].iter().map(|line| {
        let (name, value) = line.split_once(": ").expect("a header field");
        (name.to_owned(), value.to_owned())
    });
    let body = lines.get(end + 1..).unwrap_or_default().join("\n");
    (headers.collect(), body)
}
