//! The routes of shares: making, listing and revoking them, and reading by a share's URL.

use super::{ANY, CHANGE, NOT_THERE, OF_ONE, of_one, operations};
use crate::http::openapi::answers::{Answers, JSON, refer};
use crate::http::route::Route;
use crate::http::shares;
use crate::service::Reason::*;

/// The routes under the operation, with and without its tenant.
pub(super) fn of_operation() -> [Route; 3] {
    [create(), list(), revoke()]
}

/// The routes under a share's URL.
pub(super) fn by_url() -> [Route; 4] {
    let operation = operations::get().by_share(
        "getShared",
        "Returns a shared operation, and the URL of its result",
        |call, _| Box::pin(shares::get(call)),
    );
    let status = operations::status().by_share(
        "getSharedStatus",
        "Returns the status document of a shared operation",
        |call, _| Box::pin(shares::status(call)),
    );
    let outcome = operations::outcome().by_share(
        "getSharedResult",
        "Returns the outcome of a shared operation",
        |call, _| Box::pin(shares::outcome(call)),
    );
    [operation, status, outcome, watch()]
}

fn create() -> Route {
    let about = "The share, with its token, which no other response shows.";
    let answers = Answers::default().json("201", about, &[], "CreateShareResponse");
    Route::new(
        "post",
        "/v1/operations/{id}/shares",
        "createShare",
        "Shares an operation's status and result by a URL",
        |call, body| Box::pin(shares::create(call, body)),
    )
    .takes(&["id", "Content-Encoding.document"])
    .body(JSON, &refer("CreateShareRequest"), false)
    .answers(answers)
    .refuses(&of_one(&[&CHANGE[..], &[ResourceExhausted, Unsupported]].concat()))
}

fn list() -> Route {
    let answers = Answers::default().json("200", "The shares.", &[], "ListSharesResponse");
    let about = "Lists the shares of an operation, without their tokens";
    Route::new("get", "/v1/operations/{id}/shares", "listShares", about, |call, _| {
        Box::pin(shares::list(call))
    })
    .takes(&["id"])
    .answers(answers)
    .refuses(&of_one(&[Unsupported]))
}

fn revoke() -> Route {
    let answers = Answers::default().empty("204", "The share is revoked.", &[]);
    Route::new(
        "post",
        "/v1/operations/{id}/shares/{share_id}:revoke",
        "revokeShare",
        "Revokes a share for good",
        |call, _| Box::pin(shares::revoke(call)),
    )
    .takes(&["id", "share_id"])
    .answers(answers)
    .refuses(&of_one(&[OriginRefused, ShareNotFound, ResourceExhausted, Unsupported]))
}

fn watch() -> Route {
    let answers = Answers::default()
        .empty("200", "The transitions of the operation as a stream.", &["X-Accel-Buffering?"])
        .events("200", &OF_ONE, "WatchOperationResponse")
        .empty(
            "204",
            "The stream is over: the client has seen the end, and must not reconnect.",
            &[],
        );
    Route::new(
        "get",
        "/v1/shares/{token}/events",
        "watchShared",
        "Streams the transitions of a shared operation",
        |call, _| Box::pin(shares::watch(call)),
    )
    .takes(&["token.share", "include_progress", "last_event_id", "Last-Event-ID"])
    .answers(answers)
    .refuses(&[&ANY[..], &NOT_THERE, &[ShareNotFound, RevisionAhead, Unsupported]].concat())
}
