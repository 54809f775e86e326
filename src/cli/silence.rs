//! Reports on stderr, once, that an operation will not start by itself, because no worker serves its kind or its kind is
//! paused, or that the server cannot be reached; the command goes on waiting.

use std::future::pending;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};

use super::remote::Remote;
use super::text;
use crate::proto::v1::waiting::Reason;
use crate::proto::v1::{ListOperationsRequest, Operation, OperationView};

/// An operation is reported if it has waited this long for a worker.
const SILENCE: Duration = Duration::from_secs(2);
/// The name of no operation. A call with it shows whether the server responds.
const NOBODY: &str = "operations/00000000-0000-7000-8000-000000000000";
/// The longest time between two checks.
const LONGEST: Duration = Duration::from_secs(30);

/// Does `work`, which waits for an operation. Meanwhile calls `note` if the operation will not start by itself. Calls `name`
/// each time, because the name may not be known at first.
pub(super) async fn broken<T>(
    remote: &Remote,
    name: impl Fn() -> Option<String>,
    note: impl Fn(&str),
    work: impl Future<Output = T>,
) -> T {
    let (work, look) = (pin!(work), pin!(look(remote, name, note)));
    match select(work, look).await {
        Either::Left((done, _)) => done,
        Either::Right((never, _)) => match never {},
    }
}

async fn look(
    remote: &Remote,
    name: impl Fn() -> Option<String>,
    note: impl Fn(&str),
) -> std::convert::Infallible {
    let (mut pause, mut said_away) = (SILENCE, false);
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
        let name = name();
        let asked = name.as_deref().unwrap_or(NOBODY);
        match remote.client.get(asked, OperationView::Full).await {
            Ok(operation) => {
                let found = match words(&operation, text::now()) {
                    None => words_of_children(remote, &operation).await,
                    found => found,
                };
                if let Some(words) = found {
                    note(&words);
                    return pending().await;
                }
            }
            Err(error) if error.is_transient() && !said_away => {
                said_away = true;
                note(&remote.unreached(&error));
            }
            // The next round repeats the call; `work` reports its own errors.
            Err(_) => {}
        }
    }
}

/// The same of a batch: all of its children that are not done wait, and one of them for a worker.
async fn words_of_children(remote: &Remote, batch: &Operation) -> Option<String> {
    let children = batch.children.as_ref()?;
    if batch.done || children.queued == 0 || children.running + children.cancelling > 0 {
        return None;
    }
    let filter = format!("parent=\"{}\" AND state=QUEUED", batch.name);
    let request = ListOperationsRequest { filter, page_size: 1, ..Default::default() };
    let listed = remote.client.list(request).await.ok()?;
    let words = words(listed.operations.first()?, text::now())?;
    Some(format!("its children wait: {words}"))
}

/// `no worker serves report.build (serving now: …)` or `the kind report.build is paused`, if the operation has waited for
/// at least [`SILENCE`]. Other reasons pass without a person's help.
pub(super) fn words(operation: &Operation, now: SystemTime) -> Option<String> {
    let waiting = operation.waiting.as_ref()?;
    if !matches!(waiting.reason(), Reason::NoWorker | Reason::Paused) {
        return None;
    }
    let since = text::time(operation.update_time.as_ref())?;
    let is_old = now.duration_since(since).is_ok_and(|waited| waited >= SILENCE);
    is_old.then(|| text::clean(&waiting.message))
}
