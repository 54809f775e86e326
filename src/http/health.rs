//! `/livez` and `/readyz`, for whoever starts, restarts and load-balances servers.

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::Http;
use super::problem::Problem;

/// Whoever can answer is alive.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Whether new work is taken, and if not, why.
pub(super) async fn ready(State(http): State<Http>) -> Response {
    match http.service.ready() {
        Ok(()) => "ok\n".into_response(),
        Err(error) => Problem::from(error).into_response(),
    }
}
