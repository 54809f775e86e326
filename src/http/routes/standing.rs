//! The routes of workers and kinds.

use serde_json::json;

use super::ANY;
use crate::http::openapi::answers::Answers;
use crate::http::route::Route;
use crate::http::{measured, standing};
use crate::service::Reason::*;

pub(super) fn all() -> Vec<Route> {
    vec![workers(), kinds(), metrics()]
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
    let about = "Lists the caller's kinds, with counts of their waiting and running operations";
    Route::new("get", "/v1/kinds", "listKinds", about, |call, _| Box::pin(standing::kinds(call)))
        .answers(answers)
        .refuses(&[&ANY[..], &[ListTimeout]].concat())
}

fn metrics() -> Route {
    let text = json!({"type": "string"});
    let answers = Answers::default()
        .empty("200", "The metrics that `docs/metrics.md` describes.", &["Vary"])
        .also("200", "text/plain", &text)
        .also("200", "application/openmetrics-text", &text);
    let about = "Metrics of the whole server, for Prometheus";
    // Nothing of the request is an argument.
    let reasons: Vec<_> = ANY.into_iter().filter(|reason| *reason != InvalidArgument).collect();
    Route::new("get", "/metrics", "getMetrics", about, |call, _| Box::pin(measured::metrics(call)))
        .ignores_query()
        .answers(answers)
        .refuses(&[&reasons[..], &[RouteNotFound]].concat())
}
