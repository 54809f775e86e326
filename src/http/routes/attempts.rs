//! The routes of workers without a stream.

use serde_json::json;

use super::{ANY, CHANGE, NOT_THERE, operations};
use crate::http::attempts;
use crate::http::openapi::answers::{Answers, JSON, refer};
use crate::http::route::Route;
use crate::service::Reason::{self, *};

const ATTEMPT: &str = "/v1/attempts/{token}";

pub(super) fn all() -> Vec<Route> {
    vec![acquire(), get(), input(), renew(), complete(), fail(), release(), log()]
}

/// Refusals of a request with a token: the attempt may be over, and the operation gone.
fn of_one(more: &[Reason]) -> Vec<Reason> {
    [&ANY[..], &NOT_THERE, &[StaleAttempt], more].concat()
}

fn acquire() -> Route {
    let answers = Answers::default()
        .json(
            "200",
            "An attempt. `Location` is its URL, to which its worker reports.",
            &["Location"],
            "AcquiredAttempt",
        )
        .empty("204", "No attempt could start in time.", &[]);
    Route::new(
        "post",
        "/v1/kinds/{kind}:acquire",
        "acquireAttempt",
        "Waits for an attempt of the kind, and acquires it",
        |call, _| Box::pin(attempts::acquire(call)),
    )
    .takes(&["kind", "wait.attempt", "worker_id", "lease_duration", "request_id", "Prefer"])
    .answers(answers)
    .refuses(&[&ANY[..], &[OriginRefused, ResourceExhausted]].concat())
}

fn get() -> Route {
    let about = "Returns a current attempt, as it was acquired";
    let answers = Answers::default().json("200", "The attempt.", &["Location"], "AcquiredAttempt");
    Route::new("get", ATTEMPT, "getAttempt", about, |call, _| Box::pin(attempts::get(call)))
        .takes(&["token"])
        .answers(answers)
        .refuses(&of_one(&[]))
}

fn input() -> Route {
    let about = "Returns the input of a current attempt, as it was submitted";
    Route::new("get", "/v1/attempts/{token}/input", "getInputOfAttempt", about, |call, _| {
        Box::pin(attempts::get_input(call))
    })
    .takes(&["token", "Range", "If-Range"])
    .answers(operations::contents_of_input())
    .refuses(&of_one(&[RangeNotSatisfiable, DataLoss]))
}

fn renew() -> Route {
    let answers = Answers::default().json(
        "200",
        "The lease is renewed, or the attempt is over.",
        &[],
        "RenewResponse",
    );
    Route::new(
        "post",
        "/v1/attempts/{token}:renew",
        "renewAttempt",
        "Renews the lease of an attempt, and returns whether the worker must stop",
        |call, body| Box::pin(attempts::renew(call, body)),
    )
    .takes(&["token", "Content-Encoding.document"])
    .body(JSON, &refer("RenewRequest"), false)
    .answers(answers)
    // The response itself says if the attempt is over.
    .refuses(&[&ANY[..], &CHANGE].concat())
}

fn durable() -> Answers {
    Answers::default().empty("204", "The report is durable.", &[])
}

fn complete() -> Route {
    Route::new(
        "post",
        "/v1/attempts/{token}:complete",
        "completeAttempt",
        "Reports that an attempt has succeeded; the body, of any media type, is the result",
        |call, body| Box::pin(attempts::complete(call, body)),
    )
    .takes(&["token", "Content-Encoding", "Content-Language", "Content-Disposition"])
    .body("*/*", &json!({}), false)
    .answers(durable())
    .refuses(&of_one(&[OriginRefused, RequestTimeout, PayloadTooLarge]))
}

fn fail() -> Route {
    let route = Route::new(
        "post",
        "/v1/attempts/{token}:fail",
        "failAttempt",
        "Reports that an attempt has failed: as JSON, or with the body as the message",
        |call, body| Box::pin(attempts::fail(call, body)),
    );
    route
        .takes(&["token", "code", "final", "retry_delay", "Content-Encoding.document"])
        .bodies(&[(JSON, refer("FailRequest")), ("text/plain", json!({"type": "string"}))], true)
        .answers(durable())
        .refuses(&of_one(&CHANGE))
}

fn release() -> Route {
    let about = "Gives an attempt back undone";
    Route::new("post", "/v1/attempts/{token}:release", "releaseAttempt", about, |call, _| {
        Box::pin(attempts::release(call))
    })
    .takes(&["token"])
    .answers(durable())
    .refuses(&of_one(&[OriginRefused]))
}

fn log() -> Route {
    let route = Route::new(
        "post",
        "/v1/attempts/{token}:log",
        "addLogOfAttempt",
        "Adds log lines of an attempt: as JSON, or each line of the body",
        |call, body| Box::pin(attempts::log(call, body)),
    );
    route
        .takes(&["token", "Content-Encoding.document"])
        .bodies(&[(JSON, refer("AddLogRequest")), ("text/plain", json!({"type": "string"}))], false)
        .answers(durable())
        .refuses(&of_one(&CHANGE))
}
