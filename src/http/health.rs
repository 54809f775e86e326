//! `/livez` and `/readyz`, for supervisors and load balancers.

use axum::response::IntoResponse as _;

use super::call::Call;
use super::documents::Answer;

/// A server that responds is alive.
pub(super) async fn live(_: Call) -> Answer {
    Ok("ok\n".into_response())
}

/// Whether new work is accepted; the error says why not.
pub(super) async fn ready(call: Call) -> Answer {
    call.service().ready()?;
    Ok("ok\n".into_response())
}
