//! Submissions: one operation, one of a kind, many.

use serde_json::json;

use super::{ANY, CHILD, SUBMISSION};
use crate::http::openapi::answers::{Answers, JSON, refer};
use crate::http::route::Route;
use crate::http::submit;
use crate::operation::Settings;
use crate::service::Reason::UnsupportedMediaType;

pub(super) fn all() -> [Route; 3] {
    [submission(), submission_of_kind(), submission_of_many()]
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

/// The answers to a submission.
pub(super) fn submitted() -> Answers {
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
