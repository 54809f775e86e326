//! Stores and operations to test with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longrun::operation::state::Idempotency;
use longrun::operation::transition::submit;
use longrun::operation::{
    Command, Decision, Event, EventType, IdempotencyKey, Kind, Operation, OperationId, Payload,
    PayloadForm, Reporter, SessionId, Settings, Submission, TenantId, Timestamp, WorkerId, decide,
};
use longrun::store::postgres::{PostgresOptions, PostgresStore};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use longrun::store::{Batch, Lookup, Removal, Store, Write};

use crate::generate::{self, EPOCH};
use crate::postgres_support;
use crate::store::{Lie, SimStore};

/// A store and what it lives in.
pub struct Opened {
    pub store: Box<dyn Store>,
    _directory: Option<tempfile::TempDir>,
}

pub fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    (directory, path)
}

pub async fn open_sqlite() -> Opened {
    let (directory, path) = directory();
    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    Opened { store: Box::new(store), _directory: Some(directory) }
}

pub async fn open_postgres() -> Opened {
    let database = postgres_support::database().await;
    let store = PostgresStore::open(&database.url, &PostgresOptions::default()).await.unwrap();
    Opened { store: Box::new(store), _directory: None }
}

pub async fn open_model() -> Opened {
    let rng = fastrand::Rng::with_seed(0);
    let store = SimStore::new(Arc::default(), Lie::None, rng);
    Opened { store: Box::new(store), _directory: None }
}

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(EPOCH + millis * 1_000)
}

pub fn id(number: u64) -> OperationId {
    generate::id(at(number as i64), number)
}

pub fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

pub fn worker() -> WorkerId {
    WorkerId::parse("worker-1").unwrap()
}

pub fn session(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

/// The submission with that number, made at that millisecond.
pub fn submission(number: u64) -> Submission {
    Submission {
        id: id(number),
        tenant: TenantId::default_tenant(),
        kind: Kind::parse("report.build").unwrap(),
        labels: BTreeMap::new(),
        settings: Settings::default(),
        created_at: at(number as i64),
        start_at: at(number as i64),
        idempotency: None,
        retry_of: None,
        parent: None,
        trace: None,
        callback: None,
        input: None,
    }
}

pub fn with_key(mut submission: Submission, text: &str) -> Submission {
    submission.idempotency = Some(Idempotency { key: key(text), fingerprint: [7; 32] });
    submission
}

pub fn with_label(mut submission: Submission, label: &str, value: &str) -> Submission {
    submission.labels.insert(label.to_owned(), value.to_owned());
    submission
}

/// A batch that submits.
pub fn submitting(submissions: impl IntoIterator<Item = Submission>) -> Batch {
    let mut batch = Batch::default();
    for submission in submissions {
        let (operation, event_type) = submit(Arc::new(submission));
        let event = Event { event_type, life: operation.life.clone() };
        batch.events.push((operation.id(), event));
        batch.writes.push(Write { operation, expected: None, input: None, result: None });
    }
    batch
}

/// A batch that writes operations as they are, with one event each.
pub fn writing(operations: impl IntoIterator<Item = Operation>) -> Batch {
    let mut batch = Batch::default();
    for operation in operations {
        let event = Event { event_type: EventType::Submitted, life: operation.life.clone() };
        batch.events.push((operation.id(), event));
        batch.writes.push(Write { operation, expected: None, input: None, result: None });
    }
    batch
}

/// The operation after a command, and a batch that makes it so.
pub fn changing(operation: &Operation, command: &Command, now: Timestamp) -> (Operation, Batch) {
    let Decision::Change(event) = decide(operation, command, None, now).unwrap() else {
        panic!("{command:?} changes nothing");
    };
    let next = Operation { submission: operation.submission.clone(), life: event.life.clone() };
    let write = Write {
        operation: next.clone(),
        expected: Some(operation.life.revision),
        input: None,
        result: None,
    };
    let batch =
        Batch { writes: vec![write], events: vec![(next.id(), *event)], ..Batch::default() };
    (next, batch)
}

pub fn acquire(number: u8) -> Command {
    Command::Acquire { session: session(number), worker: worker() }
}

pub fn complete(operation: &Operation) -> Command {
    let result = Payload::new(PayloadForm::Json, "", "{}".into());
    Command::complete(reporter(operation), Some(&result), Vec::new(), Vec::new())
}

/// The holder of the lease.
pub fn reporter(operation: &Operation) -> Reporter {
    let (attempt, lease) = (operation.life.attempt, operation.life.state.lease().unwrap());
    Reporter { attempt, session: lease.session, former: None }
}

pub fn removing(operation: &Operation) -> Batch {
    let removal = Removal {
        id: operation.id(),
        expected: operation.life.revision,
        tombstone: None,
        at: at(0),
    };
    Batch { removals: vec![removal], ..Batch::default() }
}

/// Submits, and answers the operation.
pub async fn stored(store: &dyn Store, submission: Submission) -> Operation {
    let batch = submitting([submission]);
    let operation = batch.writes[0].operation.clone();
    store.commit(batch).await.unwrap();
    operation
}

/// Makes a change, and answers the operation after it.
pub async fn changed(store: &dyn Store, operation: &Operation, command: &Command) -> Operation {
    let now = operation.life.updated_at.after(Duration::from_millis(10));
    let (next, batch) = changing(operation, command, now);
    store.commit(batch).await.unwrap();
    next
}

pub async fn load(store: &dyn Store, id: OperationId) -> Option<Operation> {
    store.load(vec![Lookup::Id(id)]).await.unwrap().remove(0)
}
