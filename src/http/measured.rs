//! `/metrics`, for Prometheus and other readers of its formats.

use axum::response::IntoResponse as _;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};

use super::call::Call;
use super::documents::Answer;
use super::problem::Problem;
use crate::metrics::Format;
use crate::service::{Reason, ServiceError};

/// `GET /metrics`; 404 if metrics are served elsewhere or not at all.
pub(super) async fn metrics(call: Call) -> Answer {
    if !call.http.options.metrics {
        return Err(Problem::no_route("/metrics"));
    }
    let accept = call.parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let written = call.service().metrics(&call.caller).await?.write(format);
    let failed = |_| ServiceError::new(Reason::Internal, "the metrics cannot be written");
    let fields = [(CONTENT_TYPE, format.content_type()), (VARY, "accept")];
    Ok((fields, written.map_err(failed)?).into_response())
}
