//! Sample operations of every state, minimal and complete, to try templates on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Dialect;
use super::scene::{Places, Request, Scene, Site};
use super::view::{Record, Subject};
use crate::operation::error::ErrorSource;
use crate::operation::{
    Attempt, Command, Decision, HttpEnvelope, Kind, Operation, OperationError, OperationId,
    Payload, PayloadForm, Progress, Reporter, SessionId, Settings, StateName, Submission, TenantId,
    Timestamp, WorkerId, mark, transition,
};

const AT: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);
/// The time within which a worker must start it.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// Text that breaks documents without escaping.
const HOSTILE: &str = "\"quoted\" \\ <b>\u{e9}";

/// Operations in every state, each minimal and complete. They are made by the rules, like those that templates get
/// later.
pub(crate) fn operations(kind: &Kind) -> Vec<Operation> {
    let all = |is_rich| lives().into_iter().map(move |life| operation(kind, life, is_rich));
    all(false).chain(all(true)).collect()
}

/// The commands after submission: one list for each state and ending.
fn lives() -> Vec<Vec<Command>> {
    let Ok(worker) = WorkerId::parse("worker") else { return Vec::new() };
    let session = SessionId::from_bytes([1; 16]);
    let acquire = || Command::Acquire { session, worker: worker.clone() };
    let reporter = Reporter { attempt: Attempt(1), session, former: None };
    let complete = |result: Option<Payload>, warnings, errors| {
        vec![acquire(), Command::complete(reporter, result.as_ref(), warnings, errors)]
    };
    let fail =
        |error, is_final| vec![acquire(), Command::fail(reporter, error, is_final, None, 0.0)];
    let cancel = || Command::Cancel { reason: HOSTILE.to_owned() };
    let result = |form, media_type: &str, status| {
        let payload = Payload::new(form, media_type, bytes::Bytes::from_static(b"{\"a\": 1}"));
        let envelope = HttpEnvelope { status, ..HttpEnvelope::default() };
        Some(if status == 0 { payload } else { payload.within(envelope) })
    };
    let json = || result(PayloadForm::Json, "application/json", 0);
    vec![
        Vec::new(),
        vec![acquire()],
        fail(error("A"), false),
        vec![acquire(), cancel()],
        complete(None, Vec::new(), Vec::new()),
        complete(json(), vec![error("W")], Vec::new()),
        complete(result(PayloadForm::Data, "text/csv", 200), Vec::new(), Vec::new()),
        complete(json(), vec![error("W")], vec![error("A"), error("B")]),
        complete(None, Vec::new(), vec![OperationError::service("A", 13, "")]),
        fail(error("A"), true),
        fail(OperationError::service("A", 2, ""), true),
        // Its queue timeout has expired by then.
        vec![Command::Tick { chance: 0.0 }],
        vec![cancel()],
    ]
}

/// The history of an operation with all kinds of entries.
fn history(operation: &Operation) -> Vec<Record> {
    let record = |number, state, text| Record { number, at: AT, state, text };
    vec![
        record(1, StateName::Queued, None),
        record(1, StateName::Running, Some(HOSTILE.to_owned())),
        record(3, operation.state_name(), None),
    ]
}

/// An operation as a request finds it.
pub(super) fn subject(operation: &Operation) -> Subject<'_> {
    let is_rich = is_rich(operation);
    Subject {
        operation,
        input: is_rich.then_some(b"{\"a\": [1]}"),
        result: is_rich.then_some(b"{\"a\": 1, \"failed\": [\"\\\"\"]}"),
        inline_limit: 1 << 10,
        history: if is_rich { history(operation) } else { Vec::new() },
        dismissed: None,
    }
}

/// A mount and a request to it.
pub(super) struct Setting {
    site: Site,
    request: Request,
    places: Places,
}

/// A bare request, and an odd one with every parameter and field that templates use.
pub(super) fn settings(dialect: &Dialect) -> [Setting; 2] {
    let request = |parameters, headers| Request {
        method: "GET".to_owned(),
        path: "/path".to_owned(),
        parameters,
        headers,
    };
    let odd = |names: Option<BTreeSet<String>>| {
        names.unwrap_or_default().into_iter().map(|name| (name, HOSTILE.to_owned())).collect()
    };
    let of = |variable| odd(dialect.templates.members(variable));
    let places = dialect.routes.iter().flat_map(|route| route.path.places());
    let places = places.chain(dialect.places.iter().map(String::as_str));
    let places = places.filter(|name| *name != "id").map(str::to_owned);
    let (plain, odd): (Places, Places) =
        places.map(|name| ((name.clone(), "a".to_owned()), (name, HOSTILE.to_owned()))).unzip();
    [
        Setting {
            site: Site::alone(dialect),
            request: request(Vec::new(), Vec::new()),
            places: plain,
        },
        Setting {
            site: Site::alone(dialect),
            request: request(of("call.parameters"), of("call.headers")),
            places: odd,
        },
    ]
}

impl Setting {
    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            now: AT,
            base: "http://localhost",
            mount: "mount",
            site: &self.site,
            relay_prefix: "/relay",
            request: &self.request,
            places: &self.places,
        }
    }
}

fn is_rich(operation: &Operation) -> bool {
    !operation.submission.labels.is_empty()
}

fn error(code: &str) -> OperationError {
    OperationError {
        code: code.to_owned(),
        message: HOSTILE.to_owned(),
        status_code: 9,
        metadata: [("field".to_owned(), HOSTILE.to_owned())].into(),
        causes: vec![OperationError::service("CAUSE", 5, HOSTILE)],
        source: ErrorSource::Application,
    }
}

/// The operation after those commands.
fn operation(kind: &Kind, commands: Vec<Command>, is_rich: bool) -> Operation {
    let progress = Progress {
        percent: Some(12.5),
        done_units: Some(1),
        total_units: Some(8),
        message: HOSTILE.to_owned(),
        at: AT,
    };
    let progress = is_rich.then_some(progress);
    let (mut operation, _) = transition::submit(Arc::new(submission(kind, is_rich)));
    for command in commands {
        let now = match command {
            Command::Tick { .. } => AT.after(QUEUE_TIMEOUT),
            _ => AT,
        };
        let decided = transition::decide(&operation, &command, progress.as_ref(), now);
        if let Ok(Decision::Change(event)) = decided {
            operation.life = event.life;
        }
    }
    if operation.life.state.lease().is_some() {
        operation.life.progress = progress;
    }
    operation
}

fn submission(kind: &Kind, is_rich: bool) -> Submission {
    let envelope = HttpEnvelope {
        method: "POST".to_owned(),
        target: "/path?query=1".to_owned(),
        ..HttpEnvelope::default()
    };
    let input = Payload::new(PayloadForm::Data, "text/plain", bytes::Bytes::new());
    let labels = [
        ("label".to_owned(), HOSTILE.to_owned()),
        (mark::TRIGGER.to_owned(), "async=true".to_owned()),
    ];
    Submission {
        id: OperationId::from_bytes([7; 16]),
        tenant: TenantId::default_tenant(),
        kind: kind.clone(),
        labels: if is_rich { labels.into() } else { BTreeMap::new() },
        settings: Settings { queue_timeout: Some(QUEUE_TIMEOUT), ..Settings::default() },
        created_at: AT,
        start_at: AT,
        idempotency: None,
        retry_of: None,
        parent: None,
        trace: None,
        callback: None,
        input: is_rich.then(|| input.within(envelope).info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Outcome, State};

    #[test]
    fn there_is_one_of_every_state() {
        let operations = operations(&Kind::parse("a").unwrap());
        for state in StateName::ALL {
            let of_state = operations.iter().filter(|it| it.state_name() == state);
            assert!(of_state.count() >= 2, "{state:?}");
        }
        let timed_out = |operation: &Operation| match &operation.life.state {
            State::Done { outcome: Outcome::Failed { error }, .. } => {
                error.code == OperationError::QUEUE_TIMEOUT
            }
            _ => false,
        };
        assert!(operations.iter().any(timed_out));
    }
}
