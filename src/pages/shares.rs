//! The shares of an operation: URLs whose holders read its status and its result. A URL is shown once, when it is made.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::commands::{self, Command};
use super::operation::named;
use super::to;
use super::view::When;
use super::visit::Visit;
use crate::operation::Timestamp;
use crate::service::shares::ShareRecord;
use crate::service::{OperationName, ServiceError};
use crate::time_text::parse_duration;

#[derive(Debug, Serialize)]
struct Shares {
    operation: String,
    rows: Vec<ShareRow>,
    /// The URL of the share that was made just now.
    made: Option<String>,
    /// What was given as its lifetime, and the rule that it breaks.
    wrong: Option<(String, String)>,
    commands: Vec<Command>,
}

#[derive(Debug, Serialize)]
struct ShareRow {
    id: String,
    created: When,
    created_by: String,
    expires: When,
}

impl ShareRow {
    fn of(record: &ShareRecord, now: Timestamp) -> Self {
        let ShareRecord { id, share } = record;
        Self {
            id: id.clone(),
            created: When::new(share.created_at, Some(now)),
            created_by: share.created_by.clone(),
            expires: When::new(share.expires_at, Some(now)),
        }
    }
}

/// `GET operations/ID/shares`.
pub(super) async fn page(visit: &Visit) -> Result<Response, ServiceError> {
    show(visit, &named(visit)?, None, None).await
}

/// `POST operations/ID/shares`: a new share, and the page with its URL.
pub(super) async fn create(visit: &Visit) -> Result<Response, ServiceError> {
    let name = named(visit)?;
    let text = visit.form.word("for");
    let ttl = match parse_duration(text) {
        Ok(ttl) => ttl,
        Err(rule) => return show(visit, &name, None, Some((text, rule.to_string()))).await,
    };
    match visit.service().create_share(&visit.caller, &name, Some(ttl)).await {
        Ok((token, _)) => {
            let url = visit.service().share_url(&token);
            // Without a configured base it is the one that this request came by.
            let base = if url.starts_with('/') { visit.base() } else { String::new() };
            show(visit, &name, Some(format!("{base}{url}")), None).await
        }
        Err(error) => match error.violations.first() {
            Some(violation) => {
                show(visit, &name, None, Some((text, violation.description.clone()))).await
            }
            None => Err(error),
        },
    }
}

/// `POST operations/ID/shares/SHARE/revoke`.
pub(super) async fn revoke(visit: &Visit) -> Result<Response, ServiceError> {
    let share = visit.places.get(1).map(String::as_str).unwrap_or_default();
    visit.service().revoke_share(&visit.caller, &named(visit)?, share).await?;
    Ok(to("../../shares"))
}

async fn show(
    visit: &Visit,
    name: &OperationName,
    made: Option<String>,
    wrong: Option<(&str, String)>,
) -> Result<Response, ServiceError> {
    let now = visit.service().now();
    let records = visit.service().list_shares(&visit.caller, name).await?;
    let operation = name.id.to_string();
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let view = Shares {
        rows: records.iter().map(|record| ShareRow::of(record, now)).collect(),
        made,
        wrong: wrong.map(|(given, rule)| (given.to_owned(), rule)),
        commands: commands::of_shares(visit, &operation),
        operation,
    };
    visit.show(status, "shares.html", &visit.frame("Shares", "operations"), view)
}
