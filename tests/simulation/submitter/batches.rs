//! Batches: with children in the same call, with others that follow or come too late, cancelled, and tried again. And
//! what must be true of each at the end.

use std::collections::BTreeMap;

use longrun::operation::batch::{Ending, RuleName};
use longrun::operation::state::Outcome;
use longrun::operation::{
    BatchRule, ChildCounts, IdempotencyKey, Kind, NewOperation, Operation, OperationId, State,
    StateName,
};
use longrun::service::{ManySubmissions, Reason};
use longrun::store::PayloadRole;

use super::{Submitter, named};
use crate::disk::Disk;
use crate::record::{Record, SHORT_RETENTION_S};
use crate::world::{CallError, World};

/// What is known of the batches that somebody was shown: how many children came with each.
pub type Batches = BTreeMap<OperationId, u64>;

const RULES: [RuleName; 3] = [RuleName::All, RuleName::Any, RuleName::MaxFailures];

impl Submitter {
    /// Submits a batch, and the children that it waits for behind it, if it does.
    pub(super) async fn submit_with_children(&mut self) {
        let with_key = self.rng.u32(..4) > 0;
        let children: Vec<NewOperation> =
            (0..self.rng.usize(1..4)).map(|_| self.new_operation(false)).collect();
        // Only one that is surely known can be brought to its end.
        let follow = if with_key && self.rng.bool() { self.rng.u64(1..4) } else { 0 };
        let name = self.rng.choice(RULES).unwrap_or(RuleName::All);
        let max_failures = if name == RuleName::MaxFailures { self.rng.u64(..3) } else { 0 };
        let is_expecting = follow > 0 && self.rng.u32(..4) > 0;
        let expected_children = if is_expecting { children.len() as u64 + follow } else { 0 };
        let rule = BatchRule { name, max_failures, expected_children };
        self.made += 1;
        let key = with_key.then(|| format!("batch-{}-{}", self.number, self.made));
        let batch = NewOperation {
            idempotency_key: key.as_deref().map(|key| IdempotencyKey::parse(key).unwrap()),
            ..NewOperation::of_batch(Kind::of_batches().unwrap(), rule)
        };
        let Some(id) = self.store_batch(&batch, &children, rule).await else { return };
        let mut is_open = true;
        for _ in 0..follow {
            self.world.pause(&mut self.rng, 12).await;
            is_open = is_open && self.add_child(id).await;
        }
        if is_expecting && is_open && self.rng.u32(..8) == 0 {
            self.cancel_operation(id).await;
        }
    }

    /// Until there is an answer, where the batch has a key.
    async fn store_batch(
        &mut self,
        batch: &NewOperation,
        children: &[NewOperation],
        rule: BatchRule,
    ) -> Option<OperationId> {
        loop {
            let asked = self.world.record.now();
            let (caller, batch_and) = (World::caller(), (batch.clone(), children.to_vec()));
            let answer = self
                .world
                .call(&mut self.rng, move |service| async move {
                    let (batch, children) = batch_and;
                    let batch = Box::new(batch);
                    let many = ManySubmissions::Batch { batch, rule, children };
                    service.submit_many(&caller, many).await
                })
                .await;
            match answer {
                Ok(many) => {
                    let stored = many.batch.expect("a batch").document.operation;
                    let key = batch.idempotency_key.as_ref();
                    self.world.record.batch(stored.id(), children.len() as u64);
                    self.shown(batch, asked, &stored);
                    for (at, (new, result)) in children.iter().zip(many.results).enumerate() {
                        let key =
                            key.map(|key| IdempotencyKey::parse(&format!("{key}/{at}")).unwrap());
                        let new = NewOperation { idempotency_key: key, ..new.clone() };
                        match result.map_err(CallError::Refused) {
                            Ok(child) => self.shown(&new, asked, &child.document.operation),
                            // It was there, and its retention is over.
                            Err(error)
                                if error.is(Reason::OperationNotFound)
                                    && new.settings.retention.as_secs() < SHORT_RETENTION_S => {}
                            Err(error) => {
                                let oddity = format!("{at} of its children is refused: {error:?}");
                                self.world.record.odd(&self.world.record.name(stored.id()), oddity);
                            }
                        }
                    }
                    return Some(stored.id());
                }
                Err(error) if error.is_transient() => {
                    batch.idempotency_key.as_ref()?;
                    self.world.pause(&mut self.rng, 20).await;
                }
                Err(error) => {
                    let oddity = format!("a sound batch was refused: {error:?}");
                    self.world.record.odd("", oddity);
                    return None;
                }
            }
        }
    }

    /// Until there is an answer, because the batch may wait for it. Answers whether the batch took it.
    async fn add_child(&mut self, parent: OperationId) -> bool {
        let new = NewOperation { parent: Some(parent), ..self.new_operation(true) };
        loop {
            let asked = self.world.record.now();
            let (caller, item) = (World::caller(), new.clone());
            let call = self.world.call(&mut self.rng, move |service| async move {
                service.submit(&caller, item).await
            });
            match call.await {
                Ok(stored) => {
                    self.shown(&new, asked, &stored.document.operation);
                    return true;
                }
                Err(error) if error.is(Reason::ParentNotOpen) => return false,
                Err(error) if error.is_transient() => {
                    self.world.pause(&mut self.rng, 20).await;
                }
                Err(error) => {
                    self.refused(parent, &error);
                    return false;
                }
            }
        }
    }

    /// Tries the failed children of some batch again, whether there are any or not.
    pub(super) async fn retry_batch(&mut self) {
        let Some(id) = self.world.record.any_batch(&mut self.rng) else { return };
        self.made += 1;
        let key = IdempotencyKey::parse(&format!("retry-{}-{}", self.number, self.made)).unwrap();
        let (caller, asked) = (World::caller(), self.world.record.now());
        let call = self.world.call(&mut self.rng, move |service| async move {
            service.retry(&caller, &named(id), Some(key), None).await
        });
        match call.await {
            Ok(stored) => {
                self.world.record.batch(stored.document.operation.id(), 0);
                self.world.record.read(asked, &stored.document.operation);
            }
            Err(error) if error.is(Reason::NothingToRetry) => {}
            Err(error) => self.refused(id, &error),
        }
    }
}

/// What must be true of a batch and its children when all is done.
pub fn check(record: &Record, disk: &Disk, batch: &Operation) {
    let (id, tenant) = (batch.id(), &batch.submission.tenant);
    let odd = |oddity: String| record.odd(&record.name(id), oddity);
    let counts = disk.children(tenant, id);
    let with = record.batches().get(&id).copied().unwrap_or_default();
    if counts.total() < with {
        odd(format!("{with} children came with it, and it has {}", counts.total()));
    }
    let input = disk.payload(id, PayloadRole::Input).unwrap_or_default();
    let Some(rule) = BatchRule::read(&input) else { return odd("it has no rule".to_owned()) };
    let State::Done { outcome, .. } = &batch.life.state else { return };
    let ending = match outcome {
        Outcome::Succeeded { .. } => Ending::Succeeded,
        Outcome::PartiallySucceeded { .. } => Ending::PartiallySucceeded,
        Outcome::Cancelled { .. } => {
            if batch.life.cancel.is_none() {
                odd("it was cancelled, and nobody asked for that".to_owned());
            }
            return;
        }
        Outcome::Failed { error } => {
            let is_by_rule = match error.code.as_str() {
                // Those that came too late may have succeeded.
                "BATCH_FAILED" if rule.name == RuleName::Any => true,
                "BATCH_FAILED" => counts.unsuccessful() > rule.max_failures,
                "CHILDREN_GONE" => batch.submission.retry_of.is_some(),
                _ => false,
            };
            if !is_by_rule {
                odd(format!("{rule:?}: it failed with {error:?} and {counts:?}"));
            }
            return;
        }
    };
    let result = disk.payload(id, PayloadRole::Result).unwrap_or_default();
    let told = told(&result);
    if rule.ending(&told) != Some(ending) {
        odd(format!("{rule:?}: it ended as {ending:?} with {told:?}"));
    }
    for state in StateName::ALL {
        if told.of(state) > counts.of(state) && state.is_done() {
            odd(format!("it told of {told:?}, and has {counts:?}"));
        }
    }
}

/// The counts in the result of a batch.
fn told(result: &[u8]) -> ChildCounts {
    let fields: serde_json::Value = serde_json::from_slice(result).unwrap_or_default();
    let mut counts = ChildCounts::default();
    for (state, field) in [
        (StateName::Succeeded, "succeeded"),
        (StateName::PartiallySucceeded, "partiallySucceeded"),
        (StateName::Failed, "failed"),
        (StateName::Cancelled, "cancelled"),
        (StateName::Running, "notDone"),
    ] {
        counts.add_stored(state, fields[field].as_u64().unwrap_or_default());
    }
    counts
}
