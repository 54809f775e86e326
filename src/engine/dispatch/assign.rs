//! Assigns operations with their inputs. An input is read before its operation starts, so that an unreadable one is
//! noticed before anything is decided.

use super::dispatcher::{Dispatcher, Outgoing};
use super::quarantine::Quarantine;
use super::resumed::Missed;
use crate::engine::Shared;
use crate::engine::clock::Moment;
use crate::engine::request::ToWorker;
use crate::engine::round::draft::Draft;
use crate::engine::round::load::Loader;
use crate::operation::{Command, OperationId, SessionId};
use crate::store::{Lookup, StoreError};

/// Quarantines an operation that cannot be read or written, and forgets its lease.
pub(super) fn leave_alone(
    dispatcher: &mut Dispatcher,
    quarantine: &mut Quarantine,
    id: OperationId,
) {
    quarantine.add_damaged(id);
    dispatcher.sessions_mut().forget(id);
    for key in dispatcher.places_mut().end(id) {
        dispatcher.mark(key);
    }
}

/// Sends resumed sessions what they missed: assignments that did not arrive, and cancels. An attempt that is to be
/// cancelled and never reached its worker ends here.
pub(super) async fn catch_up(
    shared: &Shared,
    (dispatcher, quarantine): (&mut Dispatcher, &mut Quarantine),
    loader: &Loader,
    draft: &mut Draft,
    moment: Moment,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut leases = dispatcher.resumed().leases(dispatcher.sessions());
    leases.retain(|id| !quarantine.is_damaged(*id));
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    loader.operations(leases.iter().copied(), draft).await?;
    let mut missed = dispatcher.resumed().missed(dispatcher.sessions(), draft);
    missed.retain(|(_, operation, _)| leases.contains(&operation.id()));
    let assigned = missed.iter().filter(|(.., what)| *what == Missed::Assignment);
    let assigned: Vec<OperationId> = assigned.map(|(_, it, _)| it.id()).collect();
    let mut inputs = loader.inputs(assigned, draft).await?;
    let (mut messages, before) = (Vec::new(), draft.transitions().len());
    for (session, operation, what) in missed {
        let id = operation.id();
        let content = match what {
            Missed::Assignment => match inputs.remove(&id) {
                Some(input) => ToWorker::Assignment { operation, input },
                None => {
                    leave_alone(dispatcher, quarantine, id);
                    continue;
                }
            },
            Missed::Cancel => ToWorker::CancelRequested { operation },
            // A locked row can be reported but not written: the end of the grace period will end it.
            Missed::End(_) if quarantine.holds(id, moment) => continue,
            Missed::End(attempt) => {
                let progress = shared.progress.get(id, attempt);
                let command = Command::LoseLease { attempt };
                // A rejection means that another change came first, which is fine.
                let _ = draft.apply(&operation, &command, None, progress.as_ref());
                continue;
            }
        };
        messages.push(Outgoing { session, content });
    }
    let ended = draft.transitions().get(before..).unwrap_or_default();
    dispatcher.follow(ended, draft.now());
    Ok(messages)
}

/// Starts operations in the slots that were reserved for them.
pub(super) async fn assign(
    matches: Vec<(SessionId, OperationId)>,
    (dispatcher, quarantine): (&mut Dispatcher, &mut Quarantine),
    loader: &Loader,
    draft: &mut Draft,
) -> Result<Vec<Outgoing>, StoreError> {
    if matches.is_empty() {
        return Ok(Vec::new());
    }
    let ids = || matches.iter().map(|(_, id)| *id);
    loader.operations(ids(), draft).await?;
    let mut inputs = loader.inputs(ids(), draft).await?;
    let mut messages = Vec::with_capacity(matches.len());
    for (session, id) in matches {
        let input = inputs.remove(&id);
        let is_there = draft.current(id).is_some() || draft.is_damaged(&Lookup::Id(id));
        if is_there && input.is_none() {
            leave_alone(dispatcher, quarantine, id);
        }
        let acquired = input.and_then(|input| {
            let operation = dispatcher.acquire(session, id, draft)?;
            Some(ToWorker::Assignment { operation, input })
        });
        match acquired {
            Some(content) => messages.push(Outgoing { session, content }),
            // Other queues may use its slot.
            None => dispatcher.mark_starved(),
        }
    }
    Ok(messages)
}
