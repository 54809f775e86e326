//! What the service tells at the end, when nothing changes any more.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use longrun::client::Client;
use longrun::proto::v1::error::Source;
use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::{Error, ListOperationsRequest, Operation, OperationView};

use crate::history::{EventFact, Final, History, Mark, Name};
use crate::load::text;
use crate::recorder::{Recorder, event_mark, mark};

/// Questions at a time.
const AT_ONCE: usize = 16;

/// Adds to what was recorded what the service has of it.
pub async fn collect(client: &Client, recorder: &Recorder) -> anyhow::Result<History> {
    let listed = list(client).await?;
    let mut history = recorder.take();
    let mut names: Vec<Name> = listed.keys().cloned().collect();
    names.extend(history.submissions.iter().map(|submission| submission.name.clone()));
    names.sort_unstable();
    names.dedup();
    let listed = Arc::new(listed);
    let finals = stream::iter(names).map(|name| {
        let listed = listed.get(&name).cloned();
        async move { Ok::<_, anyhow::Error>((name.clone(), last(client, &name, listed).await?)) }
    });
    let finals: Vec<_> = finals.buffer_unordered(AT_ONCE).try_collect().await?;
    history.finals = finals.into_iter().filter_map(|(name, last)| Some((name, last?))).collect();
    Ok(history)
}

async fn list(client: &Client) -> anyhow::Result<HashMap<Name, Mark>> {
    let request = ListOperationsRequest { page_size: 1_000, ..Default::default() };
    let operations: Vec<Operation> =
        client.list_all(request).try_collect().await.context("the list")?;
    Ok(operations.iter().map(|operation| (operation.name.clone(), mark(operation))).collect())
}

/// An operation with its history; `None` if there is no such operation.
async fn last(client: &Client, name: &str, listed: Option<Mark>) -> anyhow::Result<Option<Final>> {
    let operation = match client.get(name, OperationView::Full).await {
        Ok(operation) => operation,
        Err(error) if error.code() == tonic::Code::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| name.to_owned()),
    };
    let mut tokens: Vec<String> =
        operation.errors.iter().map(|error| error.message.clone()).collect();
    tokens.extend(Some(text(&operation.result)).filter(|token| !token.is_empty()));
    tokens.extend(operation.error.iter().flat_map(tokens_of));
    let key = operation.idempotency_key.clone();
    let mut last = Final {
        mark: mark(&operation),
        listed,
        key: Some(key).filter(|key| !key.is_empty()),
        content: text(&operation.input),
        tokens,
        events: Vec::new(),
        log: Vec::new(),
    };
    let mut events = std::pin::pin!(client.events_all(name));
    while let Some(event) = events.try_next().await.with_context(|| name.to_owned())? {
        if let Some(line) = event.log {
            last.log.push((event.attempt, line.text));
        } else {
            let tokens = event.error.iter().flat_map(tokens_of).collect();
            let (mark, event) = (event_mark(&event), event.r#type());
            debug_assert_ne!(event, EventType::Log);
            last.events.push(EventFact { mark, event, tokens });
        }
    }
    Ok(Some(last))
}

/// The report that an error is of. A cancelled attempt's stands behind the service's own error; what
/// stands behind a deadline may be of an earlier attempt and is no outcome of this one.
fn tokens_of(error: &Error) -> Vec<String> {
    match error.source() {
        Source::Application => vec![error.message.clone()],
        _ if error.code == "CANCELLED" => error.causes.iter().flat_map(tokens_of).collect(),
        _ => Vec::new(),
    }
}
