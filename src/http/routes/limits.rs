//! The routes of operators for limits.

use super::{ANY, CHANGE};
use crate::http::limits;
use crate::http::openapi::answers::{Answers, JSON, refer};
use crate::http::route::Route;
use crate::service::Reason::*;

pub(super) fn all() -> Vec<Route> {
    vec![list(), set(), delete(), pause(), resume()]
}

fn list() -> Route {
    let answers = Answers::default().json("200", "The limits.", &[], "ListLimitsResponse");
    Route::new("get", "/v1/limits", "listLimits", "Lists limits of tenants", |call, _| {
        Box::pin(limits::list(call))
    })
    .takes(&["tenant.limits"])
    .answers(answers)
    .refuses(&[&ANY[..], &[Unsupported]].concat())
}

fn set() -> Route {
    let answers = Answers::default().json("200", "The limit as it applies now.", &[], "Limit");
    Route::new("post", "/v1/limits", "setLimit", "Sets a limit of a tenant", |call, body| {
        Box::pin(limits::set(call, body))
    })
    .takes(&["Content-Encoding.document"])
    .body(JSON, &refer("SetLimitRequest"), true)
    .answers(answers)
    .refuses(&[&ANY[..], &CHANGE, &[ResourceExhausted, Unsupported]].concat())
}

fn pause() -> Route {
    let answers = Answers::default().empty("204", "The kind is paused.", &[]);
    let about = "Pauses a kind: none of its operations are started";
    Route::new("post", "/v1/kinds/{kind}:pause", "pauseKind", about, |call, _| {
        Box::pin(limits::pause(call))
    })
    .takes(&["kind", "tenant.kind"])
    .answers(answers)
    .refuses(&[&ANY[..], &[OriginRefused, ResourceExhausted, Unsupported]].concat())
}

fn resume() -> Route {
    let answers = Answers::default().empty("204", "The kind is no longer paused.", &[]);
    let about = "Resumes a paused kind";
    Route::new("post", "/v1/kinds/{kind}:resume", "resumeKind", about, |call, _| {
        Box::pin(limits::resume(call))
    })
    .takes(&["kind", "tenant.kind"])
    .answers(answers)
    .refuses(&[&ANY[..], &[OriginRefused, ResourceExhausted, Unsupported]].concat())
}

fn delete() -> Route {
    let about = "The limit that applies instead.";
    let answers = Answers::default().json("200", about, &[], "DeleteLimitResponse");
    Route::new(
        "delete",
        "/v1/limits/{what}",
        "deleteLimit",
        "Deletes a limit that was set",
        |call, _| Box::pin(limits::delete(call)),
    )
    .takes(&["what", "tenant.limit", "kind.limit", "label.limit"])
    .answers(answers)
    .refuses(&[&ANY[..], &[OriginRefused, LimitNotFound, ResourceExhausted, Unsupported]].concat())
}
