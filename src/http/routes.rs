//! All routes: one declaration for each method of each resource.

use serde_json::json;

use super::openapi::answers::{Answers, JSON};
use super::route::Route;
use super::{health, openapi};
use crate::service::Reason::{self, *};

mod attempts;
mod google;
mod keys;
mod limits;
mod operations;
mod shares;
mod standing;
mod submissions;
mod webhooks;

const TEXT: &str = "text/plain";

/// Refusals of any request.
const ANY: [Reason; 7] = [
    InvalidArgument,
    UriTooLong,
    HostRefused,
    Unauthenticated,
    PermissionDenied,
    Unavailable,
    Internal,
];
/// Reasons why an operation may not exist.
const NOT_THERE: [Reason; 2] = [OperationNotFound, OperationExpired];
/// Refusals of a submission.
const SUBMISSION: [Reason; 5] =
    [OriginRefused, RequestTimeout, PayloadTooLarge, IdempotencyKeyReused, ResourceExhausted];
/// Further refusals of a submission with a parent.
const CHILD: [Reason; 2] = [OperationNotFound, ParentNotOpen];

/// Refusals of every method that changes something.
const CHANGE: [Reason; 4] = [OriginRefused, RequestTimeout, PayloadTooLarge, UnsupportedMediaType];

/// The names of the events of a watch of one operation.
const OF_ONE: [&str; 4] = ["snapshot", "transition", "progress", "problem"];

/// All served routes.
pub(super) fn served() -> Vec<Route> {
    let mut served = all();
    served.extend(google::without_tenant());
    served
}

/// Every method of every resource in the OpenAPI document, except `HEAD`, which is like `GET`, and `OPTIONS`, which is
/// the same everywhere.
pub(super) fn all() -> Vec<Route> {
    let mut all = vec![live(), ready(), description()];
    all.extend(submissions::all());
    all.extend(operations::all());
    all.extend(shares::of_operation());
    all.extend(shares::of_operation().map(Route::under_tenant));
    all.extend(shares::by_url());
    all.extend(google::all());
    all.extend(attempts::all());
    all.extend(keys::all());
    all.extend(limits::all());
    all.extend(standing::all());
    all.extend(webhooks::all());
    all.into_iter().map(Route::whole).collect()
}

fn live() -> Route {
    let answers = Answers::default().empty("200", "The server is up.", &[]);
    Route::new("get", "/livez", "getLiveness", "Whether the server is up", |call, _| {
        Box::pin(health::live(call))
    })
    .ignores_query()
    .answers(answers.also("200", TEXT, &json!({"type": "string"})))
    .refuses(&[UriTooLong, HostRefused])
}

fn ready() -> Route {
    let answers = Answers::default().empty("200", "The server takes new work.", &[]);
    let answers = answers.also("200", TEXT, &json!({"type": "string"}));
    let about = "Whether the server takes new work, and if not, why";
    Route::new("get", "/readyz", "getReadiness", about, |call, _| Box::pin(health::ready(call)))
        .ignores_query()
        .answers(answers)
        .refuses(&[UriTooLong, HostRefused, Unavailable])
}

fn description() -> Route {
    let answers = Answers::default().empty("200", "The document.", &[]).also(
        "200",
        JSON,
        &json!({"type": "object", "required": ["openapi"]}),
    );
    Route::new("get", "/openapi.json", "getDescription", "This document", |call, _| {
        Box::pin(openapi::get(call, all))
    })
    .answers(answers)
    .refuses(&ANY)
}

/// Refusals of a request about one operation.
fn of_one(more: &[Reason]) -> Vec<Reason> {
    [&ANY[..], &NOT_THERE, more].concat()
}
