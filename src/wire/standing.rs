//! Why operations wait, workers, and kinds as messages.

use prost::Message as _;

use super::time::{encode_duration, encode_timestamp};
use crate::operation::{Kind, WaitReason, Waiting};
use crate::proto::v1;
use crate::service::{
    Budget, KindRecord, LimitUse, Percentiles, ServiceError, WorkerRecord, WorkerState,
};

/// Why an operation is not running.
pub fn waiting(waiting: &Waiting) -> v1::Waiting {
    v1::Waiting {
        reason: reason(waiting.reason).into(),
        message: waiting.message.clone(),
        until_time: waiting.until.map(encode_timestamp),
    }
}

/// A reason's number on the wire.
fn reason(reason: WaitReason) -> v1::waiting::Reason {
    use v1::waiting::Reason as Wire;
    match reason {
        WaitReason::StoreNotWritable => Wire::StoreNotWritable,
        WaitReason::Scheduled => Wire::Scheduled,
        WaitReason::BackingOff => Wire::BackingOff,
        WaitReason::NoWorker => Wire::NoWorker,
        WaitReason::LimitReached => Wire::LimitReached,
        WaitReason::WorkersBusy => Wire::WorkersBusy,
        WaitReason::WaitingTurn => Wire::WaitingTurn,
        WaitReason::Paused => Wire::Paused,
    }
}

/// The kind by which a list of workers is filtered, if any.
pub fn kind(text: &str) -> Result<Option<Kind>, ServiceError> {
    match text {
        "" => Ok(None),
        text => match Kind::parse(text) {
            Ok(kind) => Ok(Some(kind)),
            Err(rule) => Err(ServiceError::invalid_field("kind", rule.to_string())),
        },
    }
}

/// As many workers as fit in `page_bytes`.
pub fn workers(
    (workers, total): (Vec<WorkerRecord>, usize),
    page_bytes: usize,
) -> v1::ListWorkersResponse {
    let mut budget = Budget::new(page_bytes);
    let workers = workers.into_iter().map(worker);
    v1::ListWorkersResponse {
        workers: workers.take_while(|worker| budget.take(worker.encoded_len())).collect(),
        total_size: number(total),
    }
}

fn worker(WorkerRecord { figures, operations }: WorkerRecord) -> v1::Worker {
    use v1::worker::State as Wire;
    let state = match figures.state {
        WorkerState::Serving => Wire::Serving,
        WorkerState::Draining => Wire::Draining,
        WorkerState::Away => Wire::Away,
    };
    v1::Worker {
        worker_id: figures.worker.to_string(),
        kinds: figures.kinds.iter().map(Kind::to_string).collect(),
        places: number(figures.places),
        running: number(figures.running),
        state: state.into(),
        shared: figures.is_shared,
        other_replica: figures.is_elsewhere,
        connect_time: figures.since.map(encode_timestamp),
        operations: operations.iter().map(|operation| operation.id().name()).collect(),
    }
}

/// Kinds.
pub fn kinds((kinds, total): (Vec<KindRecord>, usize)) -> v1::ListKindsResponse {
    let summary = |KindRecord { figures, oldest_at, limits }: KindRecord| v1::KindSummary {
        kind: figures.kind.to_string(),
        queued: figures.queued.cast_signed(),
        oldest_queued_time: oldest_at.map(encode_timestamp),
        running: figures.running.cast_signed(),
        workers: number(figures.workers),
        ended_last_minute: figures.ended.cast_signed(),
        failed_last_minute: figures.failed.cast_signed(),
        submitted_last_minute: figures.submitted.cast_signed(),
        started_last_minute: figures.started.cast_signed(),
        queue_durations: figures.waits.map(percentiles),
        attempt_durations: figures.attempts.map(percentiles),
        paused: figures.is_paused,
        limits: limits.into_iter().map(limit_use).collect(),
    };
    let kinds = kinds.into_iter().map(summary).collect();
    v1::ListKindsResponse { kinds, total_size: number(total) }
}

fn limit_use(it: LimitUse) -> v1::LimitUse {
    v1::LimitUse {
        what: it.limit.name.to_string(),
        label: it.limit.label.unwrap_or_default(),
        most: it.most,
        used: it.used,
    }
}

fn percentiles(of: Percentiles) -> v1::DurationPercentiles {
    let [p50, p95, p99] = [of.p50, of.p95, of.p99].map(|it| Some(encode_duration(it)));
    v1::DurationPercentiles { p50, p95, p99 }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
