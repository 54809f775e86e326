//! Batches: operations with children. Their submission, all of it or nothing; their counts, cancels and retries.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::operations::{Road, not_done, unnamed};
use super::{
    Action, Caller, Document, MAX_BATCH, OperationName, Reason, Service, ServiceError, Submitted,
    Violations, audit,
};
use crate::engine::{Apply, EngineError};
use crate::operation::batch::{self, KIND, MAX_KEY};
use crate::operation::filter::Filter;
use crate::operation::{
    BatchRule, ChildCounts, Command, IdempotencyKey, Kind, NewOperation, Operation, OperationId,
    Owner, Role, StateName, TenantId, mark,
};
use crate::store::{ListOrder, ListPosition, ListQuery, OrderBy, PayloadRole};

/// Children that are read at once, to be cancelled or to be tried again.
const PAGE: usize = 256;
/// Cancels under way at once.
const AT_ONCE: usize = 64;

/// Submissions of one call.
#[derive(Debug)]
pub enum ManySubmissions {
    /// Each by itself. Those that could not be decoded are answered in their place.
    Each(Vec<Result<NewOperation, ServiceError>>),
    /// The children of a batch, with it.
    Batch {
        /// The batch.
        batch: Box<NewOperation>,
        /// Its rule.
        rule: BatchRule,
        /// Its children.
        children: Vec<NewOperation>,
    },
}

/// What became of them.
#[derive(Debug)]
pub struct ManySubmitted {
    /// The batch, if it is one.
    pub batch: Option<Submitted>,
    /// Each submission in its place. Of a batch that was stored before, children that were deleted since are not found.
    pub results: Vec<Result<Submitted, ServiceError>>,
}

impl Service {
    /// Stores submissions in one commit: each by itself, or a batch and its children, all of them or none.
    pub async fn submit_many(
        &self,
        caller: &Caller,
        asked: ManySubmissions,
    ) -> Result<ManySubmitted, ServiceError> {
        match asked {
            ManySubmissions::Each(items) => {
                let results = self.submit_batch(caller, items).await?;
                Ok(ManySubmitted { batch: None, results })
            }
            ManySubmissions::Batch { batch, rule, children } => {
                self.submit_with_children(caller, *batch, children, &rule).await
            }
        }
    }

    async fn submit_with_children(
        &self,
        caller: &Caller,
        batch: NewOperation,
        children: Vec<NewOperation>,
        rule: &BatchRule,
    ) -> Result<ManySubmitted, ServiceError> {
        caller.may(Action::Submit)?;
        check_batch(&batch, &children, rule)?;
        self.takes_work()?;
        self.spend(caller, children.len() + 1)?;
        let children = with_keys(children, batch.idempotency_key.as_ref());
        let batch = NewOperation { children: Some(NewOperation::digest_of(&children)), ..batch };
        let mut prepared = vec![Ok(self.prepare(caller, batch, "batch.input").await?)];
        for (at, child) in children.into_iter().enumerate() {
            prepared.push(self.prepare(caller, child, &format!("requests[{at}].input")).await);
        }
        let refused = prepared.iter().find_map(|new| new.as_ref().err().cloned());
        if let Some(refused) = refused {
            for new in prepared.iter().flatten() {
                if let Some(input) = &new.input {
                    self.discard(&input.info).await;
                }
            }
            return Err(refused);
        }
        let mut answers = self.store(prepared, Road::Batch).await?.into_iter();
        let missing = || ServiceError::new(Reason::Internal, "an answer is missing");
        let batch = answers.next().unwrap_or_else(|| Err(missing()));
        let batch = batch.map_err(|error| unnamed(caller, error))?;
        audit::operation(caller.actor(), "submit", batch.operation.id());
        let children = answers.map(|child| {
            let child = child.map_err(|error| unnamed(caller, error))?;
            audit::operation(caller.actor(), "submit", child.operation.id());
            Ok(child.into())
        });
        let results = children.collect();
        Ok(ManySubmitted { batch: Some(batch.into()), results })
    }

    /// Refuses a child of an operation that is not the caller's to change. Whether that takes children, the engine says.
    pub(super) async fn check_parent(
        &self,
        caller: &Caller,
        parent: OperationId,
    ) -> Result<(), ServiceError> {
        let name = OperationName { tenant: Some(caller.tenant.clone()), id: parent };
        let found = self.find_for(caller, &name, None).await?;
        match found.is_changeable_by(caller.owner.as_ref()) {
            true => Ok(()),
            false => Err(EngineError::NoParent(parent).into()),
        }
    }

    /// How many children an operation has, if it is a batch.
    pub(super) async fn children_of(
        &self,
        operation: &Operation,
    ) -> Result<Option<ChildCounts>, ServiceError> {
        if !operation.is_batch() {
            return Ok(None);
        }
        Ok(self.engine.children(vec![place(operation)]).await?.into_iter().next())
    }

    /// Counts for all batches of a page at once; who asks for one of them next is answered by that.
    pub(super) async fn count_for(&self, page: &[Operation]) -> Result<(), ServiceError> {
        let batches = page.iter().filter(|it| it.is_batch()).map(place);
        let batches: Vec<(TenantId, OperationId)> = batches.collect();
        if batches.len() > 1 {
            self.engine.children(batches).await?;
        }
        Ok(())
    }

    /// Asks every child of a batch to stop that is not done, and returns when all were asked, with how many there are then.
    /// `cancelled` is told of each.
    pub(super) async fn cancel_children(
        &self,
        batch: &Operation,
        cancelled: impl Fn(OperationId),
    ) -> Result<ChildCounts, ServiceError> {
        let reason = match &batch.life.cancel {
            Some(cancel) if !cancel.reason.is_empty() => cancel.reason.clone(),
            _ => format!("its batch, {}, was cancelled", batch.id().name()),
        };
        let mut after = None;
        loop {
            let page = self.cancel_page(batch, after, &reason).await?;
            page.iter().copied().for_each(&cancelled);
            after = page.last().copied();
            if page.len() < PAGE {
                // Anew, so that whoever asks next sees what was done.
                let counts = self.engine.count_children(vec![place(batch)]).await?;
                return Ok(counts.first().copied().unwrap_or_default());
            }
        }
    }

    /// Asks some children to stop, in the order of their ids, beginning behind one of them. Returns those: with fewer than a
    /// page there is no more.
    async fn cancel_page(
        &self,
        batch: &Operation,
        after: Option<OperationId>,
        reason: &str,
    ) -> Result<Vec<OperationId>, ServiceError> {
        let page = self.page_of(batch, &[StateName::Queued, StateName::Running], after).await?;
        let ids: Vec<OperationId> = page.iter().map(Operation::id).collect();
        let cancels = page.into_iter().map(|child| {
            let command = Command::Cancel { reason: reason.to_owned() };
            let (scope, id) = (child.submission.tenant.clone().into(), child.id());
            self.engine.apply(Apply { scope, id, command, result: None, lines: Vec::new() })
        });
        let mut cancels = stream::iter(cancels).buffer_unordered(AT_ONCE);
        while let Some(cancelled) = cancels.next().await {
            match cancelled {
                // One that is gone needs no cancel.
                Ok(_) | Err(EngineError::NotFound | EngineError::Expired { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ids)
    }

    async fn page_of(
        &self,
        batch: &Operation,
        states: &[StateName],
        after: Option<OperationId>,
    ) -> Result<Vec<Operation>, ServiceError> {
        let query = ListQuery {
            scope: batch.submission.tenant.clone().into(),
            filter: Filter::children(batch.id(), states),
            order: ListOrder { by: OrderBy::CreateTime, descending: false },
            after: after.map(|id| ListPosition { end_time: crate::operation::Timestamp::MAX, id }),
            limit: PAGE,
        };
        Ok(self.engine.list(query).await?)
    }

    /// The batch that tries the unsuccessful children of this one again.
    pub(super) async fn retry_of_batch(
        &self,
        old: &Operation,
    ) -> Result<NewOperation, ServiceError> {
        let counts = self.engine.count_children(vec![place(old)]).await?;
        let counts = counts.first().copied().unwrap_or_default();
        let (name, live) = (old.id().name(), counts.live());
        if live > 0 {
            let message = format!("{live} children of {name} are not done");
            return Err(ServiceError { message, ..not_done(old.id()) });
        }
        let (unsuccessful, left) = (counts.unsuccessful(), counts.unsuccessful_stored());
        if unsuccessful == 0 || left < unsuccessful {
            let message = match unsuccessful {
                0 => format!("no child of {name} failed or was cancelled"),
                _ => format!(
                    "{} of the {unsuccessful} children of {name} that failed or were cancelled were deleted since, and \
                     cannot be tried again: submit them anew",
                    unsuccessful - left
                ),
            };
            return Err(ServiceError::new(Reason::NothingToRetry, message).with("operation", name));
        }
        let rule = self.rule_of(old).await?;
        let rule = BatchRule { expected_children: unsuccessful, ..rule };
        let submission = &old.submission;
        Ok(NewOperation {
            labels: submission.labels.clone(),
            settings: submission.settings.clone(),
            retry_of: Some(old.id()),
            callback: submission.callback.clone(),
            ..NewOperation::of_batch(submission.kind.clone(), rule)
        })
    }

    async fn rule_of(&self, batch: &Operation) -> Result<BatchRule, ServiceError> {
        let input = self.engine.payload(batch.id(), PayloadRole::Input).await?;
        input.as_deref().and_then(BatchRule::read).ok_or_else(|| {
            let message = format!("the rule of {} cannot be read", batch.id().name());
            ServiceError::new(Reason::Internal, message)
        })
    }

    /// For the worker of batches: tries some unsuccessful children of the batch that `batch` retries again, as children of
    /// `batch`, beginning behind one of them; each once, however often it is asked. Returns the last of them, if there may be
    /// more.
    pub async fn retry_children(
        &self,
        batch: &Operation,
        after: Option<OperationId>,
    ) -> Result<Option<OperationId>, ServiceError> {
        let Some(old) = batch.submission.retry_of else { return Ok(None) };
        let caller = submitter(batch);
        let scope = batch.submission.tenant.clone().into();
        let old = match self.engine.get(&scope, old).await {
            Ok(old) => old,
            // What it should have tried again is missing then, and the batch says so.
            Err(EngineError::NotFound | EngineError::Expired { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let page = self.page_of(&old, &[StateName::Failed, StateName::Cancelled], after).await?;
        for child in &page {
            let key = IdempotencyKey::parse(&batch::retry_key(batch.id(), child.id())).ok();
            let new = self.again(child).await?;
            let new = NewOperation { idempotency_key: key, parent: Some(batch.id()), ..new };
            match self.submit(&caller, new).await {
                Ok(_) => {}
                // It is there, by a submission under other limits.
                Err(error) if error.reason == Reason::IdempotencyKeyReused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(page.last().map(Operation::id).filter(|_| page.len() == PAGE))
    }

    /// For the worker of batches: asks some children to stop. Whether there may be more.
    pub async fn cancel_some_children(
        &self,
        batch: &Operation,
        reason: &str,
    ) -> Result<bool, ServiceError> {
        Ok(self.cancel_page(batch, None, reason).await?.len() == PAGE)
    }

    /// For the worker of batches: some of the children that did not succeed, as many as a result tells of.
    pub async fn some_unsuccessful(
        &self,
        batch: &Operation,
        most: usize,
    ) -> Result<Vec<Document>, ServiceError> {
        let states = [StateName::Failed, StateName::Cancelled, StateName::PartiallySucceeded];
        let page = self.page_of(batch, &states, None).await?;
        let documents = page.into_iter().take(most).map(|it| Document::basic(Arc::new(it)));
        Ok(documents.collect())
    }
}

/// Refuses kinds that are the server's own to execute.
pub(super) fn not_of_batches(field: &str, kinds: &[Kind]) -> Result<(), ServiceError> {
    if kinds.iter().any(Kind::is_of_batches) {
        let rule = format!("must not have {KIND}, which the server itself executes");
        return Err(ServiceError::invalid_field(field, rule));
    }
    Ok(())
}

/// Refuses a submission of a batch as if it were an ordinary operation. `field` is the input's path.
pub(super) fn is_made_as_a_batch(new: &NewOperation, field: &str) -> Result<(), ServiceError> {
    if new.kind.is_of_batches() && new.retry_of.is_none() && new.children.is_none() {
        let rule = format!("must not be {KIND}: SubmitBatch with `batch` makes one");
        return Err(ServiceError::invalid_field(field.replace("input", "kind"), rule));
    }
    Ok(())
}

fn place(batch: &Operation) -> (TenantId, OperationId) {
    (batch.submission.tenant.clone(), batch.id())
}

/// On whose behalf a batch submits.
fn submitter(batch: &Operation) -> Caller {
    let caller = Caller::of(batch.submission.tenant.clone(), [Role::Submit].into_iter().collect());
    match batch.submission.labels.get(mark::OWNER) {
        Some(owner) => caller.with_owner(Owner::stored(owner)),
        None => caller,
    }
}

fn check_batch(
    batch: &NewOperation,
    children: &[NewOperation],
    rule: &BatchRule,
) -> Result<(), ServiceError> {
    let mut found = Violations::default();
    if children.len() > MAX_BATCH {
        found.note("requests", format!("must have at most {MAX_BATCH} entries"));
    }
    if children.is_empty() && rule.expected_children == 0 {
        let rule =
            "must have at least 1 entry, unless batch.expected_children says that more will follow";
        found.note("requests", rule);
    }
    let key = batch.idempotency_key.as_ref();
    if key.is_some_and(|key| key.as_str().len() > MAX_KEY) {
        let rule = format!(
            "must have at most {MAX_KEY} characters, because those of its children begin with it"
        );
        found.note("batch.idempotency_key", rule);
    }
    let mut keys: HashSet<&str> = key.map(IdempotencyKey::as_str).into_iter().collect();
    for (at, child) in children.iter().enumerate() {
        if child.parent.is_some() {
            let rule = "must be empty where `batch` is set, which is the parent";
            found.note(format!("requests[{at}].parent"), rule);
        }
        if child.idempotency_key.as_ref().is_some_and(|key| !keys.insert(key.as_str())) {
            let rule = "must be another than those of the batch and of other requests";
            found.note(format!("requests[{at}].idempotency_key"), rule);
        }
    }
    found.check()
}

/// The children with keys by which they are found again, where their batch has one.
fn with_keys(children: Vec<NewOperation>, key: Option<&IdempotencyKey>) -> Vec<NewOperation> {
    let Some(key) = key else { return children };
    let of = |(at, child): (usize, NewOperation)| {
        let own = || IdempotencyKey::parse(&format!("{key}/{at}")).ok();
        NewOperation { idempotency_key: child.idempotency_key.clone().or_else(own), ..child }
    };
    children.into_iter().enumerate().map(of).collect()
}
