//! Notifications among replicas: channels and payloads.
//!
//! Operations and queues are hashed to a few channels each, so that a replica listens only where it has watchers or
//! workers. A commit sends at most one notification on a channel; if it does not fit, it says "many".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use uuid::Uuid;

use super::super::Batch;
use super::super::shared::{Hint, Topic};
use super::step::Step;
use crate::operation::{Kind, OperationId, SessionId, StateName, TenantId};

/// The number of channels for operations, and also of those for queues.
const CHANNELS: u32 = 16;
/// The channel of all replicas: the set of connected replicas has changed.
pub(super) const REPLICAS: &str = "longrun_replicas";
/// The server accepts less than 8,000 bytes.
const PAYLOAD_BYTES: usize = 7_900;
/// Ids that always fit into a payload.
const IDS: usize = 200;
/// Stands for more ids than fit.
const MANY: &str = "*";

/// A set of hashed channels, a bit each: those of operations first, then those of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Channels(pub(super) u32);

impl Channels {
    pub(super) fn of(topic: &Topic) -> Self {
        match topic {
            Topic::Operation(id) => Self(1 << of_operation(*id)),
            Topic::Operations => Self((1 << CHANNELS) - 1),
            Topic::Queues => Self(((1 << CHANNELS) - 1) << CHANNELS),
            Topic::Queue(tenant, kind) => Self(1 << of_queue(tenant, kind)),
        }
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = u32> {
        (0..2 * CHANNELS).filter(move |number| self.0 & 1 << number != 0)
    }
}

fn of_operation(id: OperationId) -> u32 {
    // The last bits of an id are random.
    u32::from(id.as_bytes()[15]) % CHANNELS
}

/// FNV-1a, because replicas of all versions must agree.
fn of_queue(tenant: &TenantId, kind: &Kind) -> u32 {
    let bytes = tenant.as_str().bytes().chain([0]).chain(kind.as_str().bytes());
    let hash = bytes
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    CHANNELS + hash % CHANNELS
}

/// The channel's name.
pub(super) fn name(number: u32) -> String {
    let what = if number < CHANNELS { "operations" } else { "queue" };
    format!("longrun_{what}_{:02}", number % CHANNELS)
}

/// The channel of one replica.
pub(super) fn of_replica(replica: Uuid) -> String {
    format!("longrun_replica_{}", replica.simple())
}

/// The statement that notifies other replicas of the batch's changes, if there are any.
pub(super) fn of_batch(batch: &Batch) -> Option<Step<'static>> {
    let mut payloads: BTreeMap<u32, String> = BTreeMap::new();
    for id in changed(batch) {
        let payload = payloads.entry(of_operation(id)).or_default();
        if payload == MANY {
            continue;
        }
        let comma = if payload.is_empty() { "" } else { "," };
        let _ = write!(payload, "{comma}{}", Uuid::from_bytes(*id.as_bytes()).simple());
        if payload.len() > PAYLOAD_BYTES {
            *payload = MANY.to_owned();
        }
    }
    for write in &batch.writes {
        let operation = &write.operation;
        if operation.state_name() == StateName::Queued {
            let submission = &operation.submission;
            payloads.entry(of_queue(&submission.tenant, &submission.kind)).or_default();
        }
    }
    if payloads.is_empty() {
        return None;
    }
    let (names, payloads): (Vec<String>, Vec<String>) =
        payloads.into_iter().map(|(number, payload)| (name(number), payload)).unzip();
    let tell = "SELECT pg_notify(n.name, n.payload) FROM unnest($1::text[], $2::text[]) AS n (name, payload)";
    Some(Step::new(tell).with(names).with(payloads))
}

/// The batch's operations, each once.
fn changed(batch: &Batch) -> BTreeSet<OperationId> {
    let removed = batch.removals.iter().map(|removal| removal.id);
    let written = batch.writes.iter().map(|write| write.operation.id());
    removed.chain(written).chain(batch.logs.iter().map(|append| append.id)).collect()
}

/// The statement by which a new replica announces itself.
pub(super) fn here(ours: Uuid) -> Step<'static> {
    Step::new("SELECT pg_notify($1, $2)").with(REPLICAS).with(ours.simple().to_string())
}

/// Before the id of a replica of which others may have missed something.
const MISSED: &str = "missed ";

/// The statement that notifies others that they may have missed something.
pub(super) fn missed(ours: Uuid) -> Step<'static> {
    Step::new("SELECT pg_notify($1, $2)").with(REPLICAS).with(format!("{MISSED}{}", ours.simple()))
}

/// The sender of a message to all replicas, and whether they may have missed something.
pub(super) fn sender(payload: &str) -> (&str, bool) {
    payload.strip_prefix(MISSED).map_or((payload, false), |sender| (sender, true))
}

/// The statement that notifies the owners of these sessions that leases have changed.
pub(super) fn of_leases(told: &[(SessionId, OperationId)], ours: Uuid) -> Option<Step<'static>> {
    if told.is_empty() {
        return None;
    }
    let sql = format!(
        "SELECT pg_notify('longrun_replica_' || replace(s.replica::text, '-', ''),
           CASE WHEN count(*) > {IDS} THEN '{MANY}'
             ELSE 'L' || string_agg(replace(n.operation::text, '-', ''), ',') END)
         FROM unnest($1::uuid[], $2::uuid[]) AS n (session, operation)
         JOIN sessions AS s ON s.id = n.session
         WHERE s.replica <> $3 GROUP BY s.replica"
    );
    let sessions = told.iter().map(|(session, _)| Uuid::from_bytes(*session.as_bytes()));
    let operations = told.iter().map(|(_, id)| Uuid::from_bytes(*id.as_bytes()));
    Some(
        Step::new(sql)
            .with(sessions.collect::<Vec<_>>())
            .with(operations.collect::<Vec<_>>())
            .with(ours),
    )
}

/// The hint of a notification; `None` if it concerns only the store itself.
pub(super) fn hint(channel: &str, payload: &str) -> Option<Hint> {
    if channel == REPLICAS {
        return None;
    }
    if channel.starts_with("longrun_queue_") {
        return Some(Hint::Queued);
    }
    let said = if channel.starts_with("longrun_operations_") {
        operations(payload).map(Hint::Changed)
    } else if let Some(ids) = payload.strip_prefix('L') {
        operations(ids).map(Hint::Leases)
    } else if let Some(ids) = payload.strip_prefix('T') {
        let ids = ids.split(',').map(|id| Uuid::try_parse(id).ok().map(SessionId::from_uuid));
        ids.collect::<Option<_>>().map(Hint::TakenOver)
    } else {
        None
    };
    // "Many", or a message of another version.
    Some(said.unwrap_or(Hint::Missed))
}

fn operations(ids: &str) -> Option<Vec<OperationId>> {
    ids.split(',').map(|id| Uuid::try_parse(id).ok().map(OperationId::from_uuid)).collect()
}
