//! All routes: one declaration for each method of each resource.

use serde_json::json;

use super::openapi::answers::{Answers, JSON, refer};
use super::route::Route;
use super::{events, health, input, openapi, operations, result, submit};
use crate::operation::Settings;
use crate::service::Reason::{self, *};

mod attempts;
mod google;
mod keys;
mod limits;
mod shares;
mod standing;
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

/// The names of events.
const OF_ONE: [&str; 4] = ["snapshot", "transition", "progress", "problem"];
const OF_ALL: [&str; 8] =
    ["current", "synced", "transition", "left", "deleted", "progress", "reset", "problem"];

/// The path of an operation. With a tenant its sub-resources are the same, but itself is for Google's client libraries.
const OPERATION: &str = "/v1/operations/{id}";

/// All served routes.
pub(super) fn served() -> Vec<Route> {
    let mut served = all();
    served.extend(google::without_tenant());
    served
}

/// Every method of every resource in the OpenAPI document, except `HEAD`, which is like `GET`, and `OPTIONS`, which is
/// the same everywhere.
pub(super) fn all() -> Vec<Route> {
    let mut all = vec![
        live(),
        ready(),
        description(),
        list(),
        submission(),
        submission_of_kind(),
        submission_of_many(),
        watch_all(),
    ];
    let of_one =
        || [get(), delete(), cancel(), run(), retry(), status(), outcome(), payload(), history()];
    all.extend(of_one());
    let parts = [retry(), status(), outcome(), payload(), history()];
    all.extend(parts.map(Route::under_tenant));
    all.extend(shares::of_operation());
    all.extend(shares::of_operation().map(Route::under_tenant));
    all.extend(shares::by_url());
    all.extend(google::all());
    all.extend(attempts::all());
    all.extend(keys::all());
    all.extend(limits::all());
    all.extend(standing::all());
    all.extend(webhooks::all());
    all
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
        Box::pin(openapi::get(call, all()))
    })
    .answers(answers)
    .refuses(&ANY)
}

fn list() -> Route {
    let answers = Answers::default().json("200", "A page.", &[], "ListOperationsResponse");
    Route::new(
        "get",
        "/v1/operations",
        "listOperations",
        "Lists operations, newest first by default",
        |call, _| Box::pin(operations::list(call)),
    )
    .takes(&["filter", "order_by", "page_size", "page_token", "view", "tenant.operations"])
    .answers(answers)
    .refuses(&[&ANY[..], &[OperationNotFound, ListTimeout]].concat())
}

/// The answers to a submission.
fn submitted() -> Answers {
    stored("The operation is stored. `Location` is its URL.", "Operation")
}

/// The answers to what was stored as one operation.
fn stored(about: &str, schema: &str) -> Answers {
    let both = [
        "Location",
        "Operation-Location",
        "ETag",
        "Preference-Applied?",
        "RateLimit?",
        "RateLimit-Policy?",
        "Vary",
    ];
    let accepted = [&both[..], &["Retry-After"]].concat();
    Answers::default().json("202", about, &accepted, schema).json(
        "303",
        "The operation is done already: its key was used before, or the wait was long enough.",
        &both,
        schema,
    )
}

fn submission() -> Route {
    Route::new("post", "/v1/operations", "submit", "Submits an operation", |call, body| {
        Box::pin(submit::operation(call, body))
    })
    .takes(&["Prefer", "Idempotency-Key", "Content-Encoding.document"])
    .body(JSON, &refer("SubmitRequest"), true)
    .answers(submitted())
    .refuses(&[&ANY[..], &SUBMISSION, &CHILD, &[UnsupportedMediaType]].concat())
}

fn submission_of_kind() -> Route {
    let settings: Vec<&str> = Settings::ALL.iter().map(|setting| setting.name).collect();
    let path = "/v1/kinds/{kind}/operations";
    Route::new(
        "post",
        path,
        "submitOfKind",
        "Submits an operation; the body, of any media type, is the input",
        |call, body| Box::pin(submit::of_kind(call, body)),
    )
    .takes(&["kind", "label", "parent", "start_at", "start_in", "start_time", "callback_url"])
    .takes(&settings)
    .takes(&["Prefer", "Idempotency-Key"])
    .takes(&["Content-Encoding", "Content-Language", "Content-Disposition"])
    .body("*/*", &json!({}), false)
    .answers(submitted())
    .refuses(&[&ANY[..], &SUBMISSION, &CHILD].concat())
}

fn submission_of_many() -> Route {
    let limits = ["RateLimit?", "RateLimit-Policy?"];
    let about = "The batch and all its children are stored. `Location` is the batch's URL.";
    let answers = stored(about, "SubmitBatchResponse").json(
        "200",
        "Without a batch: each submission is stored or refused by itself; `results` has the outcomes in their order.",
        &limits,
        "SubmitBatchResponse",
    );
    Route::new(
        "post",
        "/v1/batches",
        "submitBatch",
        "Submits a batch with its children, or many operations, in one commit",
        |call, body| Box::pin(submit::many(call, body)),
    )
    .takes(&["Prefer", "Idempotency-Key", "Content-Encoding.document"])
    .body(JSON, &refer("SubmitBatchRequest"), true)
    .answers(answers)
    .refuses(&[&ANY[..], &SUBMISSION, &[UnsupportedMediaType]].concat())
}

fn watch_all() -> Route {
    let answers = Answers::default()
        .empty(
            "200",
            "A stream of events: the operations that match, and their changes.",
            &["Vary", "X-Accel-Buffering"],
        )
        .events("200", &OF_ALL, "WatchOperationsResponse");
    Route::new(
        "get",
        "/v1/operations/events",
        "watchOperations",
        "Streams the operations that match a filter",
        |call, _| Box::pin(events::of_all(call)),
    )
    .takes(&[
        "filter",
        "include_progress",
        "skip_current",
        "last_event_id.position",
        "Last-Event-ID.position",
    ])
    .answers(answers)
    .refuses(&ANY)
}

/// Refusals of a request about one operation.
fn of_one(more: &[Reason]) -> Vec<Reason> {
    [&ANY[..], &NOT_THERE, more].concat()
}

fn get() -> Route {
    let both = ["Location", "ETag", "Vary", "Preference-Applied?"];
    let accepted = [&both[..], &["Retry-After"]].concat();
    let answers = Answers::default()
        .json("202", "The operation is not done. `Location` is its URL.", &accepted, "Operation")
        .json(
            "303",
            "The operation is done. `Location` is the URL of its result.",
            &both,
            "Operation",
        );
    Route::new(
        "get",
        OPERATION,
        "getOperation",
        "Returns the operation as it is, and the URL of its result",
        |call, _| Box::pin(operations::get(call)),
    )
    .takes(&["id", "wait", "view", "Prefer", "If-Match", "If-None-Match"])
    .answers(not_modified(answers))
    .refuses(&of_one(&[PreconditionFailed]))
}

fn not_modified(answers: Answers) -> Answers {
    let names = ["ETag", "Vary", "Retry-After?", "Preference-Applied?"];
    answers.empty("304", "The client has the latest version.", &names)
}

fn delete() -> Route {
    let answers = Answers::default().empty("204", "The operation is deleted.", &[]);
    let about = "Deletes a done operation";
    Route::new("delete", OPERATION, "deleteOperation", about, |call, _| {
        Box::pin(operations::delete(call))
    })
    .takes(&["id", "If-Match", "If-None-Match"])
    .answers(answers)
    .refuses(&of_one(&[OperationNotDone, OriginRefused, PreconditionFailed]))
}

fn cancel() -> Route {
    let accepted = ["Location", "ETag", "Retry-After", "Vary"];
    let answers = Answers::default()
        .json("200", "The operation is done.", &["ETag", "Vary"], "Operation")
        .json(
            "202",
            "The operation is being cancelled: its worker has been notified.",
            &accepted,
            "Operation",
        );
    Route::new(
        "post",
        "/v1/operations/{id}:cancel",
        "cancelOperation",
        "Requests that the operation be cancelled",
        |call, body| Box::pin(operations::cancel(call, body)),
    )
    .takes(&["id", "If-Match", "If-None-Match", "Content-Encoding.document"])
    .body(JSON, &refer("CancelOperationRequest"), false)
    .answers(answers)
    .refuses(&of_one(&CHANGE))
    .refuses(&[PreconditionFailed])
}

fn run() -> Route {
    let accepted = ["Location", "ETag", "Retry-After", "Vary"];
    let answers = Answers::default()
        .json("200", "The operation is done.", &["ETag", "Vary"], "Operation")
        .json(
            "202",
            "The operation is not done, and does not wait for a time.",
            &accepted,
            "Operation",
        );
    Route::new(
        "post",
        "/v1/operations/{id}:run",
        "runOperation",
        "Lets an operation start now that waits for its start time or its next attempt",
        |call, body| Box::pin(operations::run(call, body)),
    )
    .takes(&["id", "If-Match", "If-None-Match", "Content-Encoding.document"])
    .body(JSON, &refer("RunOperationRequest"), false)
    .answers(answers)
    .refuses(&of_one(&CHANGE))
    .refuses(&[PreconditionFailed])
}

fn retry() -> Route {
    let more =
        [OperationNotDone, NothingToRetry, UnsupportedMediaType, PreconditionFailed, DataLoss];
    Route::new(
        "post",
        "/v1/operations/{id}:retry",
        "retryOperation",
        "Submits the input of a done operation again",
        |call, body| Box::pin(operations::retry(call, body)),
    )
    .takes(&[
        "id",
        "Prefer",
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
        "Content-Encoding.document",
    ])
    .body(JSON, &refer("RetryOperationRequest"), false)
    .answers(submitted())
    .refuses(&of_one(&[&SUBMISSION[..], &more].concat()))
}

fn status() -> Route {
    let names = ["ETag", "Vary", "Retry-After?", "Preference-Applied?"];
    let answers = Answers::default().json("200", "The status document.", &names, "Status");
    Route::new(
        "get",
        "/v1/operations/{id}/status",
        "getStatus",
        "Returns the status document, in any state",
        |call, _| Box::pin(operations::status(call)),
    )
    .takes(&["id", "wait", "Prefer", "If-Match", "If-None-Match"])
    .answers(not_modified(answers))
    .refuses(&of_one(&[PreconditionFailed]))
}

fn outcome() -> Route {
    let about = ["ETag", "Vary", "Preference-Applied?", "Longrun-Errors?", "Longrun-Warnings?"];
    let contents = [
        "Accept-Ranges",
        "X-Content-Type-Options",
        "Content-Security-Policy",
        "Longrun-Type-Url?",
        "Longrun-Recorded-Status?",
    ];
    let whole = [&about[..], &contents].concat();
    let part = [&whole[..], &["Content-Range"]].concat();
    let pending = ["Location", "ETag", "Retry-After", "Vary", "Preference-Applied?"];
    let any = json!({});
    let answers = Answers::default()
        .empty("200", "The result, as its worker reported it.", &whole)
        .also("200", "*/*", &any)
        .json("202", "The operation is not done. `Location` is the URL of the result.", &pending, "Operation")
        .empty("204", "The operation is done, and has no result.", &about)
        .empty("206", "The part that was asked for.", &part)
        .also("206", "*/*", &any)
        .empty(
            "default",
            "The outcome: the error of an operation that failed, as a problem document under the status of its code; \
             or the recorded HTTP response that is the result.",
            &["ETag?", "Vary?", "Longrun-Error-Source?", "Preference-Applied?"],
        )
        .also("default", "application/problem+json", &refer("Problem"))
        .also("default", "*/*", &any);
    Route::new(
        "get",
        "/v1/operations/{id}/result",
        "getResult",
        "Returns the outcome, as a synchronous call would",
        |call, _| Box::pin(result::get(call)),
    )
    .takes(&["id", "wait", "Prefer", "If-Match", "If-None-Match", "Range", "If-Range"])
    .answers(not_modified(answers))
    .refuses(&[RangeNotSatisfiable, PreconditionFailed])
    .may_refuse(&of_one(&[DataLoss]))
}

fn payload() -> Route {
    let (path, about) = ("/v1/operations/{id}/input", "Returns the input, as it was submitted");
    Route::new("get", path, "getInput", about, |call, _| Box::pin(input::get(call)))
        .takes(&["id", "If-Match", "If-None-Match", "Range", "If-Range"])
        .answers(not_modified(contents_of_input()))
        .refuses(&of_one(&[RangeNotSatisfiable, PreconditionFailed, DataLoss]))
}

fn contents_of_input() -> Answers {
    let whole = [
        "ETag",
        "Accept-Ranges",
        "X-Content-Type-Options",
        "Content-Security-Policy",
        "Longrun-Type-Url?",
        "Content-Encoding?",
        "Content-Language?",
        "Content-Disposition?",
    ];
    let part = [&whole[..], &["Content-Range"]].concat();
    let any = json!({});
    Answers::default()
        .empty("200", "The input, as it was submitted.", &whole)
        .also("200", "*/*", &any)
        .empty("204", "The operation was submitted without an input.", &["ETag"])
        .empty("206", "The part that was asked for.", &part)
        .also("206", "*/*", &any)
}

fn history() -> Route {
    let answers = Answers::default()
        .json("200", "A page of the history, oldest first; a stream for clients that accept `text/event-stream`.", &["Vary", "X-Accel-Buffering?"], "ListEventsResponse")
        .events("200", &OF_ONE, "WatchOperationResponse")
        .empty("204", "The stream is over: the client has seen the end, and must not reconnect.", &[]);
    Route::new(
        "get",
        "/v1/operations/{id}/events",
        "listEvents",
        "Returns the history in pages, or streams the transitions",
        |call, _| Box::pin(events::of_operation(call)),
    )
    .takes(&[
        "id",
        "page_size",
        "page_token",
        "include_progress",
        "view",
        "last_event_id",
        "Last-Event-ID",
    ])
    .answers(answers)
    .refuses(&of_one(&[RevisionAhead]))
}
