//! Stores full of all that there can be, and all that is in a store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use longrun::objects::Objects;
use longrun::operation::{
    Attempt, Event, EventType, Operation, OperationId, Outcome, PayloadForm, PayloadInfo, Revision,
    State, TenantId, Timestamp, WorkerId,
};
use longrun::store::postgres::{PostgresOptions, PostgresStore};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use longrun::store::{
    Batch, CatalogueChange, HistoryEntry, HistoryQuery, LogAppend, PayloadRole, Store, Tombstone,
    Write,
};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::generate;

pub(crate) async fn open(url: &str) -> Box<dyn Store> {
    match url.strip_prefix("sqlite:") {
        Some(path) => {
            Box::new(SqliteStore::open(Path::new(path), &SqliteOptions::default()).unwrap())
        }
        None => Box::new(PostgresStore::open(url, &PostgresOptions::default()).await.unwrap()),
    }
}

/// A directory and the URL of a store in it.
pub(crate) fn store_in(directory: &Path, name: &str) -> String {
    format!("sqlite:{}", directory.join(name).display())
}

/// All that is in a store, in words that can be compared.
#[derive(Debug, PartialEq)]
pub(crate) struct Everything {
    pub(crate) operations: Vec<Operation>,
    pub(crate) payloads: Vec<[Option<Vec<u8>>; 2]>,
    pub(crate) histories: Vec<Vec<HistoryEntry>>,
    pub(crate) tombstones: Vec<(OperationId, Tombstone)>,
    pub(crate) catalogue: Vec<BTreeMap<String, bytes::Bytes>>,
}

pub(crate) async fn everything(url: &str) -> Everything {
    let store = open(url).await;
    let operations = store.scan(None, 1_000_000).await.unwrap();
    let (mut payloads, mut histories) = (Vec::new(), Vec::new());
    for operation in &operations {
        let id = operation.id();
        let input = store.payload(id, PayloadRole::Input).await.unwrap();
        let result = store.payload(id, PayloadRole::Result).await.unwrap();
        payloads.push([input, result].map(|contents| contents.map(|it| it.to_vec())));
        let after = Default::default();
        let query = HistoryQuery { id, after, include_log: true, limit: 1_000_000 };
        histories.push(store.history(query).await.unwrap());
    }
    let tombstones = store.tombstones(None, 1_000_000).await.unwrap();
    let mut catalogue = Vec::new();
    for space in store.catalogue_versions().await.unwrap().into_keys() {
        catalogue.push(store.catalogue(&space).await.unwrap().entries);
    }
    store.close().await;
    Everything { operations, payloads, histories, tombstones, catalogue }
}

/// Fills a store with operations of every sort, some of whose contents are objects of `objects`, and with
/// tombstones.
pub(crate) async fn fill(url: &str, objects: &Path) {
    let objects = Objects::in_directory(objects).unwrap();
    let mut runner = TestRunner::deterministic();
    let mut generated = generate::operations(300).new_tree(&mut runner).unwrap().current();
    while generated.len() < 150 {
        generated = generate::operations(300).new_tree(&mut runner).unwrap().current();
    }
    let mut batch = Batch::default();
    for (number, mut operation) in generated.into_iter().enumerate() {
        operation.life.revision = Revision(1 + operation.life.revision.0 % 5);
        let mut contents = [None, None];
        for (at, (info, contents)) in
            payloads_mut(&mut operation).into_iter().zip(&mut contents).enumerate()
        {
            let Some(info) = info else { continue };
            let data = vec![(number + at) as u8; (number * 41) % 9_000];
            info.size_bytes = data.len() as u64;
            info.object = None;
            if number % 7 == 0 && !data.is_empty() {
                let mut upload = objects.upload();
                upload.write(data.into()).await.unwrap();
                info.object = Some(upload.finish().await.unwrap());
            } else {
                *contents = Some(data.into());
            }
        }
        add_history(&mut batch, &operation, number as u64);
        let [input, result] = contents;
        batch.writes.push(Write { operation, expected: None, input, result });
    }
    for number in [9_u64, 2, 7, 1] {
        let tenant = TenantId::default_tenant();
        let (purged_at, forget_at) = (time(number), time(number + 1_000_000_000_000));
        let id = generate::id(purged_at, number);
        batch.tombstones.push((id, Tombstone { tenant, purged_at, forget_at }));
    }
    let store = open(url).await;
    store.commit(batch).await.unwrap();
    for (space, name) in [("keys", "one"), ("keys", "two"), ("limits", "one")] {
        let put = [(name.to_owned(), "{}".into())].into();
        let space = space.to_owned();
        let change = CatalogueChange { space, put, ..CatalogueChange::default() };
        store.change_catalogue(change).await.unwrap();
    }
    store.close().await;
}

/// Operations of nothing but a submission, for stores that take a while to copy.
pub(crate) async fn fill_with(url: &str, count: u64) {
    let store = open(url).await;
    let mut runner = TestRunner::deterministic();
    let any = generate::submission().new_tree(&mut runner).unwrap().current();
    for first in (0..count).step_by(500) {
        let mut batch = Batch::default();
        for number in first..count.min(first + 500) {
            let mut submission = any.clone();
            submission.id = generate::id(time(number), number);
            submission.created_at = time(number);
            submission.start_at = time(number);
            submission.idempotency = None;
            let info = longrun::operation::Payload::new(PayloadForm::Data, "", Vec::new().into());
            submission.input = Some(PayloadInfo { size_bytes: 300, ..info.info });
            let submitted = longrun::operation::transition::submit(Arc::new(submission));
            let (operation, event_type) = submitted;
            let event = Event { event_type, life: operation.life.clone() };
            batch.events.push((operation.id(), event));
            let input = Some(vec![number as u8; 300].into());
            batch.writes.push(Write { operation, expected: None, input, result: None });
        }
        store.commit(batch).await.unwrap();
    }
    store.close().await;
}

/// A transition for each revision, and lines behind some, the oldest of which were dropped.
fn add_history(batch: &mut Batch, operation: &Operation, number: u64) {
    let id = operation.id();
    for revision in 1..=operation.life.revision.0 {
        let mut life = operation.life.clone();
        life.revision = Revision(revision);
        let event_type = EventType::ALL[(number % 6) as usize];
        batch.events.push((id, Event { event_type, life }));
        if number.is_multiple_of(3) {
            let first = number + revision * 10;
            batch.logs.push(LogAppend {
                id,
                revision: Revision(revision),
                attempt: Attempt(revision as u32),
                worker: number.is_multiple_of(2).then(|| WorkerId::parse("worker-1").unwrap()),
                at: time(number),
                lines: (first..first + 3).map(|line| (line, format!("line {line} é\n"))).collect(),
                keep_from: number + 11,
            });
        }
    }
}

fn payloads_mut(operation: &mut Operation) -> [Option<&mut PayloadInfo>; 2] {
    let input = Arc::make_mut(&mut operation.submission).input.as_mut();
    let result = match &mut operation.life.state {
        State::Done {
            outcome: Outcome::Succeeded { result, .. } | Outcome::PartiallySucceeded { result, .. },
            ..
        } => result.as_mut(),
        _ => None,
    };
    [input, result]
}

fn time(millis: u64) -> Timestamp {
    Timestamp::from_micros(generate::EPOCH + millis as i64 * 1_000)
}
