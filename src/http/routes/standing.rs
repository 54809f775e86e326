//! The routes of workers and kinds.

use super::ANY;
use crate::http::openapi::answers::Answers;
use crate::http::route::Route;
use crate::http::standing;
use crate::service::Reason::*;

pub(super) fn all() -> Vec<Route> {
    vec![workers(), kinds()]
}

fn workers() -> Route {
    let answers =
        Answers::default().json("200", "The workers, by name.", &[], "ListWorkersResponse");
    let about = "Lists the workers that execute the caller's operations";
    Route::new("get", "/v1/workers", "listWorkers", about, |call, _| {
        Box::pin(standing::workers(call))
    })
    .takes(&["kind.workers"])
    .answers(answers)
    .refuses(&ANY)
}

fn kinds() -> Route {
    let answers = Answers::default().json("200", "The kinds, by name.", &[], "ListKindsResponse");
    let about = "Lists the caller's kinds, with how much waits and runs of each";
    Route::new("get", "/v1/kinds", "listKinds", about, |call, _| Box::pin(standing::kinds(call)))
        .answers(answers)
        .refuses(&[&ANY[..], &[ListTimeout]].concat())
}
