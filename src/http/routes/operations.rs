//! Operations: list, get, change, result, input and history, and watches over a filter.

use serde_json::json;

use super::submissions::submitted;
use super::{ANY, CHANGE, OF_ONE, SUBMISSION, of_one};
use crate::http::openapi::answers::{Answers, JSON, refer};
use crate::http::route::Route;
use crate::http::{events, input, operations, result};
use crate::service::Reason::*;

/// The names of the events of a watch over a filter.
const OF_ALL: [&str; 8] =
    ["current", "synced", "transition", "left", "deleted", "progress", "reset", "problem"];

/// The path of an operation. With a tenant its sub-resources are the same, but itself is for Google's client libraries.
const OPERATION: &str = "/v1/operations/{id}";

pub(super) fn all() -> Vec<Route> {
    let mut all = vec![list(), watch_all(), get(), delete(), cancel(), run()];
    let parts = || [retry(), status(), outcome(), payload(), history()];
    all.extend(parts());
    all.extend(parts().map(Route::under_tenant));
    all
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

pub(super) fn get() -> Route {
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

pub(super) fn status() -> Route {
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

pub(super) fn outcome() -> Route {
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

pub(super) fn not_modified(answers: Answers) -> Answers {
    let names = ["ETag", "Vary", "Retry-After?", "Preference-Applied?"];
    answers.empty("304", "The client has the latest version.", &names)
}

pub(super) fn contents_of_input() -> Answers {
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
