//! `longrun watch --filter EXPR`: all operations that match, until interrupted; and several operations by their names.

use futures_util::{StreamExt as _, stream};

use super::output::{Output, while_read};
use super::remote::Remote;
use super::{Exit, describe, live, signals, text};
use crate::proto::json;
use crate::proto::v1::watch_operation_response::Type as OfOne;
use crate::proto::v1::watch_operations_response::Type;
use crate::proto::v1::{
    WatchOperationRequest, WatchOperationResponse, WatchOperationsRequest, WatchOperationsResponse,
};

/// Shows current matches, then changes.
pub(super) async fn run(filter: String, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let request = WatchOperationsRequest { filter, include_progress: true, ..Default::default() };
    let mut watch = remote.patient().watch_operations(request);
    let follow = async {
        while let Some(message) = watch.next().await {
            let message = message.map_err(|error| remote.failed(&error, "watch operations"))?;
            show(&message, out)?;
        }
        anyhow::Ok(Exit::Ok)
    };
    match while_read(signals::interruptible(follow)).await? {
        Ok(ended) => ended,
        Err(exit) => Ok(exit),
    }
}

fn show(message: &WatchOperationsResponse, out: &Output) -> anyhow::Result<()> {
    if out.is_json() {
        return out.record(&json::to_value(message)?);
    }
    let Some(operation) = &message.operation else {
        match message.r#type() {
            Type::Synced => out.note("these operations match now; changes follow"),
            Type::Reset => out.note("changes may have been missed; these operations match now:"),
            _ => {}
        }
        return Ok(());
    };
    let words = match message.r#type() {
        Type::Transition | Type::Left => match &message.event {
            Some(event) => describe::event(event),
            None => String::new(),
        },
        Type::Deleted => "deleted".to_owned(),
        _ => operation.progress.as_ref().map(describe::progress).unwrap_or_default(),
    };
    let left = if message.r#type() == Type::Left { " (no longer matches)" } else { "" };
    let event_time = message.event.as_ref().and_then(|event| text::time(event.time.as_ref()));
    let moment = event_time.or_else(|| text::time(operation.update_time.as_ref()));
    let id = operation.name.rsplit('/').next().unwrap_or_default();
    let words = format!("{id}  {}  {words}{left}", text::clean(&operation.kind));
    out.line(&live::line(moment.unwrap_or_else(text::now), operation, &words, out))
}

/// Shows several operations up to their ends, each line with the operation's name. Returns the exit code for the first
/// of them that did not succeed.
pub(super) async fn named(
    names: Vec<String>,
    after_revision: Option<i64>,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let mut ends: Vec<Option<Exit>> = vec![None; names.len()];
    let watches = names.into_iter().enumerate().map(|(index, name)| {
        let request = WatchOperationRequest { name, after_revision, ..Default::default() };
        remote.patient().watch(request).into_stream().map(move |message| (index, message)).boxed()
    });
    let mut all = stream::select_all(watches);
    let follow = async {
        while let Some((index, message)) = all.next().await {
            let message = message.map_err(|error| remote.failed(&error, "watch operations"))?;
            show_one(&message, out)?;
            let is_known = message.r#type() != OfOne::Progress;
            let end = message.operation.filter(|_| is_known).map(|operation| Exit::of(&operation));
            ends[index] = end.or(ends[index]);
        }
        anyhow::Ok(())
    };
    match while_read(signals::interruptible(follow)).await? {
        Ok(followed) => followed?,
        Err(exit) => return Ok(exit),
    }
    let ends = ends.into_iter().map(|end| end.unwrap_or(Exit::NotDone));
    Ok(ends.into_iter().find(|end| *end != Exit::Ok).unwrap_or(Exit::Ok))
}

fn show_one(message: &WatchOperationResponse, out: &Output) -> anyhow::Result<()> {
    if out.is_json() {
        return out.record(&json::to_value(message)?);
    }
    let Some(operation) = &message.operation else { return Ok(()) };
    let words = match &message.event {
        Some(event) => describe::event(event),
        None => operation.progress.as_ref().map(describe::progress).unwrap_or_default(),
    };
    let event_time = message.event.as_ref().and_then(|event| text::time(event.time.as_ref()));
    let moment = event_time.or_else(|| text::time(operation.update_time.as_ref()));
    let id = operation.name.rsplit('/').next().unwrap_or_default();
    let words = format!("{id}  {}  {words}", text::clean(&operation.kind));
    out.line(&live::line(moment.unwrap_or_else(text::now), operation, &words, out))
}
