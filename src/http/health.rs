//! `/livez` and `/readyz`, for whoever starts, restarts and load-balances servers.

use axum::response::IntoResponse as _;

use super::call::Call;
use super::documents::Answer;

/// Whoever can answer is alive.
pub(super) async fn live(_: Call) -> Answer {
    Ok("ok\n".into_response())
}

/// Whether new work is taken, and if not, why.
pub(super) async fn ready(call: Call) -> Answer {
    call.service().ready()?;
    Ok("ok\n".into_response())
}
