//! Workers and kinds over HTTP.

use http::StatusCode;
use serde_json::Value;

use super::call::Call;
use super::documents::{self, Answer};
use crate::wire::standing;

/// `GET /v1/workers`.
pub(super) async fn workers(mut call: Call) -> Answer {
    let kind = standing::kind(&call.query.take("kind").unwrap_or_default());
    let mut found = call.finish_query();
    let kind = found.take(kind);
    let kind = found.settle(kind)?;
    let workers = call.service().list_workers(&call.caller, kind.as_ref()).await?;
    let workers = standing::workers(workers, call.service().limits().page_bytes);
    listed(documents::object(call.types(), &workers)?, "workers")
}

/// `GET /v1/kinds`.
pub(super) async fn kinds(mut call: Call) -> Answer {
    call.finish_query().check()?;
    let kinds = standing::kinds(call.service().list_kinds(&call.caller).await?);
    listed(documents::object(call.types(), &kinds)?, "kinds")
}

/// Adds the list even if it is empty.
fn listed(mut list: serde_json::Map<String, Value>, name: &str) -> Answer {
    list.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    list.entry("totalSize").or_insert_with(|| 0.into());
    Ok(documents::json(StatusCode::OK, &Value::Object(list)))
}
