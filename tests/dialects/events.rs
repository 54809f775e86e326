//! Lives of operations as streams of events in a dialect's words.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use longrun::worker::{Failure, Outcome, Progress};
use serde_json::{Value, json};

use crate::support::{Answer, Setup, soon};

const DIALECT: &str = r#"[states]
QUEUED = "queued"
RUNNING = "in_progress"
CANCELLING = "in_progress"
SUCCEEDED = "completed"
PARTIALLY_SUCCEEDED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"

[[submit]]
when = "call.parameters.stream == 'true'"
headers.X-Job = "{{ id }}"
resume = "starting_after"
closing = "[DONE]"

[[submit.event]]
when = "transition == 'SUBMITTED'"
event = "job.created"
id = "{{ sequence }}"
data = '{"type": "job.created", "sequence_number": {{ sequence }}, "job": {{ id }}}'

[[submit.event]]
event = "job.{{ status if transition else 'progress' }}"
id = "{{ sequence if transition }}"
data = '''
{
  "sequence_number": {{ sequence }},
  "percent": {{ progress.percent }},
  "result": {{ result.json if result else none }},
  "error": {{ error.code if error else none }},
  "asked": {{ call.parameters.stream }}
}
'''

[[submit]]
status = 202
body = '{"job": {{ id }}}'

[[route]]
name = "job"
path = "/jobs/{id}"

[[route.answer]]
when = "call.parameters.stream == 'true'"
resume = "starting_after"
closing = "[DONE]"

[[route.answer.event]]
when = "transition == 'SUBMITTED'"
event = "job.created"
id = "{{ sequence }}"
data = '{"type": "job.created", "sequence_number": {{ sequence }}, "job": {{ id }}}'

[[route.answer.event]]
when = "transition"
event = "job.{{ status }}"
id = "{{ sequence }}"
data = '{"sequence_number": {{ sequence }}, "result": {{ result.json if result else none }}}'

[[route.answer]]
status = 200
body = '{"job": {{ id }}, "status": {{ status }}}'
"#;

const MOUNT: &str = "[[dialect]]\nfile = \"jobs.toml\"\nprefix = \"/x\"\n\
                     [[dialect.submit]]\npath = \"/jobs\"\nkind = \"k\"\n";

async fn setup() -> Setup {
    Setup::new(MOUNT, &[("jobs.toml", DIALECT)]).await
}

/// An event as it came.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    name: String,
    id: String,
    data: String,
}

impl Told {
    fn of(block: &str) -> Option<Self> {
        let mut told = Self::default();
        for line in block.lines() {
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "event" => value.clone_into(&mut told.name),
                "id" => value.clone_into(&mut told.id),
                "data" => value.clone_into(&mut told.data),
                // Comments, and when to come back.
                "" | "retry" => {}
                other => panic!("{other}"),
            }
        }
        (!told.data.is_empty()).then_some(told)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("JSON")
    }
}

/// A stream that is being read.
struct Listener {
    body: Body,
    text: String,
    job: String,
}

impl Listener {
    async fn open(setup: &Setup, method: &str, path: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let request = Request::builder().method(method).uri(setup.url(path));
        let request = request.body(Body::empty()).expect("a request");
        let response = soon(client.request(request)).await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let job = response.headers().get("x-job");
        let job = job.map(|job| job.to_str().expect("a text").to_owned()).unwrap_or_default();
        Self { body: Body::new(response.into_body()), text: String::new(), job }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = Told::of(block);
                self.text = rest.to_owned();
                match told {
                    Some(told) => return Some(told),
                    None => continue,
                }
            }
            let frame = soon(self.body.frame()).await?.expect("a frame");
            let piece = frame.into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&piece).expect("a text"));
        }
    }

    async fn expect(&mut self, name: &str) -> Told {
        let told = self.next().await.expect("an event");
        assert_eq!(told.name, name, "{told:?}");
        told
    }
}

/// All events of a stream that has an end.
fn all(answer: &Answer) -> Vec<Told> {
    let text = std::str::from_utf8(&answer.body).expect("a text");
    text.split("\n\n").filter_map(Told::of).collect()
}

fn names(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| told.name.as_str()).collect()
}

#[tokio::test]
async fn a_submission_is_told_to_its_end_as_it_goes() {
    let setup = setup().await;
    let mut listener = Listener::open(&setup, "POST", "/x/jobs?stream=true").await;
    let created = listener.expect("job.created").await;
    assert_eq!((created.id.as_str(), &created.json()["job"]), ("0", &listener.job.clone().into()));
    assert_eq!(listener.expect("job.queued").await.id, "1");
    let work = setup.work().await;
    let running = listener.expect("job.in_progress").await;
    assert_eq!((running.id.as_str(), &running.json()["asked"]), ("3", &"true".into()));
    work.context.progress(Progress::percent(40.0));
    let progress = listener.expect("job.progress").await;
    assert_eq!(progress.id, "", "progress is told once");
    assert_eq!(progress.json()["percent"], 40.0);
    assert_eq!(
        progress.json()["sequence_number"],
        3,
        "a reader who comes back is told of the rest"
    );
    let _ = work.end.send(Ok(Outcome::bytes("application/json", "{\"n\": 1.10}")));
    let ended = listener.expect("job.completed").await;
    assert_eq!(ended.id, "5");
    assert!(ended.data.contains("\"result\":{\"n\":1.10}"), "{ended:?}");
    assert_eq!(listener.expect("").await.data, "[DONE]");
    assert_eq!(listener.next().await, None);
    // Without the parameter it is a document as ever.
    let document = setup.get(&format!("/x/jobs/{}", listener.job)).await.expect(200);
    assert_eq!(document.json()["status"], "completed");
}

#[tokio::test]
async fn a_stream_goes_on_behind_whatever_event_was_seen() {
    let setup = setup().await;
    let job = setup.ask("POST", "/x/jobs", &[], "").await.expect(202).json();
    let path = format!("/x/jobs/{}", job["job"].as_str().expect("an id"));
    let work = setup.work().await;
    let _ = work.end.send(Err(Failure::permanent("BROKEN", "it broke")));
    setup.ask("GET", &path, &[("prefer", "wait=10")], "").await.expect(200);

    let whole = all(&setup.get(&format!("{path}?stream=true")).await.expect(200));
    let expected = ["job.created", "job.queued", "job.in_progress", "job.failed", ""];
    assert_eq!(names(&whole), expected);
    assert_eq!(whole, all(&setup.get(&format!("{path}?stream=true")).await.expect(200)));
    for (at, seen) in whole.iter().take(4).enumerate() {
        let url = format!("{path}?stream=true&starting_after={}", seen.id);
        assert_eq!(all(&setup.get(&url).await.expect(200)), whole[at + 1..], "{url}");
        let resumed = [("last-event-id", seen.id.as_str())];
        let resumed = setup.ask("GET", &format!("{path}?stream=true"), &resumed, "").await;
        match at {
            // An EventSource that has all is told not to come back.
            3 => assert_eq!((resumed.status, resumed.body.len()), (204, 0)),
            _ => assert_eq!(all(&resumed.expect(200)), whole[at + 1..]),
        }
    }
    // Two is an event that no table made.
    let url = format!("{path}?stream=true&starting_after=2");
    assert_eq!(all(&setup.get(&url).await.expect(200)), whole[2..]);
    for (seen, status) in [("x", 400), ("-1", 400), ("99", 400)] {
        let url = format!("{path}?stream=true&starting_after={seen}");
        let refused = setup.get(&url).await;
        assert_eq!(refused.status, status, "{seen}: {:?}", refused.body);
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_finds_the_rest_later() {
    let setup = setup().await;
    let mut listener = Listener::open(&setup, "POST", "/x/jobs?stream=true").await;
    listener.expect("job.created").await;
    listener.expect("job.queued").await;
    let work = setup.work().await;
    let seen = listener.expect("job.in_progress").await;
    let path = format!("/x/jobs/{}?stream=true&starting_after={}", listener.job, seen.id);
    drop(listener);
    let mut again = Listener::open(&setup, "GET", &path).await;
    let _ = work.end.send(Ok(Outcome::empty()));
    again.expect("job.completed").await;
    assert_eq!(again.expect("").await.data, "[DONE]");
    assert_eq!(again.next().await, None);
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_why_in_the_dialects_words() {
    // Good for numbers, and refused by what the worker gives.
    let fragile = "{{ result.json.n | abs if result.json.n else none }}";
    let fragile = DIALECT.replace("{{ result.json if result else none }}", fragile);
    let problem = "[[problem]]\nbody = '{\"trouble\": {{ problem.reason }}}'\n";
    let event = "[[problem.event]]\nevent = \"error\"\n\
                 data = '{\"number\": {{ sequence }}, \"trouble\": {{ problem.status }}}'\n";
    for (own, name, expected) in [
        (String::new(), "problem", json!({"reason": "INTERNAL", "status": 500})),
        (problem.to_owned(), "problem", json!({"trouble": "INTERNAL"})),
        (format!("{problem}{event}"), "error", json!({"number": 3, "trouble": 500})),
    ] {
        let dialect = format!("{fragile}\n{own}");
        let setup = Setup::new(MOUNT, &[("jobs.toml", &dialect)]).await;
        let job = setup.ask("POST", "/x/jobs", &[], "").await.expect(202).json();
        let path = format!("/x/jobs/{}", job["job"].as_str().expect("an id"));
        let work = setup.work().await;
        let _ = work.end.send(Ok(Outcome::bytes("application/json", "{\"n\": \"many\"}")));
        setup.ask("GET", &path, &[("prefer", "wait=10")], "").await.expect(200);

        let told = all(&setup.get(&format!("{path}?stream=true")).await.expect(200));
        assert_eq!(names(&told), ["job.created", "job.queued", "job.in_progress", name]);
        let last = told.last().expect("an event").json();
        for (member, value) in expected.as_object().expect("an object") {
            assert_eq!(&last[member], value, "{last}");
        }
        // Where there is no stream yet it is a refusal as ever.
        let refused = setup.get("/x/jobs/none?stream=true").await.expect(404).json();
        assert_eq!(refused.get("trouble").is_some(), !own.is_empty(), "{refused}");
    }
}

#[tokio::test]
async fn what_is_not_there_has_no_stream() {
    let setup = setup().await;
    let id = "01a20126-e0e2-763b-86f8-9d48fb5b1ec4";
    setup.get(&format!("/x/jobs/{id}?stream=true")).await.expect(404);
    let answer = setup.ask("POST", "/x/jobs", &[], "").await.expect(202).json();
    let path = format!("/x/jobs/{}?stream=true", answer["job"].as_str().expect("an id"));
    let work = setup.work().await;
    let _ = work.end.send(Ok(Outcome::empty()));
    setup.get(&path).await.expect(200);
    let head = setup.ask("HEAD", &path, &[], "").await.expect(200);
    assert_eq!(head.header("content-type"), "text/event-stream");
}
