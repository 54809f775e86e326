//! The outcome as a synchronous call would have answered it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use super::call::Call;
use super::documents::{self, Answer};
use super::headers::{ERRORS, TYPE_URL, WARNINGS};
use super::problem::Problem;
use super::replay;
use crate::operation::{Operation, Outcome, PayloadForm, State};
use crate::service::{Document, OperationName, View};
use crate::wire::encode;

/// `GET …/{id}/result`: 202 until it is done; then the result itself (204 where there is none), or the problem
/// that it ended with. A partial success has its result, and counts its errors in a header; they stand in the
/// operation.
pub(super) async fn get(mut call: Call) -> Answer {
    let name = call.name_of(call.segment("id"))?;
    let wait = call.take_wait()?;
    call.finish_query()?;
    let document = match wait {
        Some(wait) => call.service().wait(&call.caller, &name, wait, View::Basic).await?,
        None => call.service().get(&call.caller, &name, View::Basic).await?,
    };
    of(&call, &name, &document).await
}

/// The outcome of an operation that is done; 202 and where to ask if it is not.
pub(super) async fn of(call: &Call, name: &OperationName, document: &Document) -> Answer {
    let operation = &document.operation;
    let mut response = match &operation.life.state {
        State::Done { outcome, .. } => match outcome {
            Outcome::Succeeded { warnings, .. } => {
                success(call, name, operation, 0, warnings.len()).await?
            }
            Outcome::PartiallySucceeded { errors, warnings, .. } => {
                success(call, name, operation, errors.len(), warnings.len()).await?
            }
            Outcome::Failed { .. } | Outcome::Cancelled { .. } => {
                Problem::of_operation(&encode::operation(document)).into_response()
            }
        },
        _ => {
            let location = call.links().result(operation.id());
            documents::answer(call, StatusCode::ACCEPTED, Some(location), document)?
        }
    };
    documents::about(&mut response, call, operation);
    let envelope = operation.result().and_then(|result| result.http.as_deref());
    if let Some(etag) = envelope.and_then(replay::etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

async fn success(
    call: &Call,
    name: &OperationName,
    operation: &Operation,
    errors: usize,
    warnings: usize,
) -> Result<Response, Problem> {
    let mut response = if operation.result().is_none() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let (info, data) = call.service().result(&call.caller, name).await?;
        let mut response = Response::new(Body::from(data));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type(&info.content_type));
        if info.form == PayloadForm::Any {
            let type_url = HeaderValue::try_from(info.type_url).ok();
            headers.extend(type_url.map(|url| (TYPE_URL.clone(), url)));
        }
        // A worker's bytes are served from this origin: a browser is neither to guess nor to run them.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        if let Some(envelope) = &info.http {
            replay::apply(envelope, &mut response);
        }
        response
    };
    for (name, count) in [(&ERRORS, errors), (&WARNINGS, warnings)] {
        if count > 0 {
            response.headers_mut().insert(name.clone(), count.into());
        }
    }
    Ok(response)
}

/// The worker's word for its result, unless it is not fit for a header.
fn content_type(text: &str) -> HeaderValue {
    let fallback = HeaderValue::from_static("application/octet-stream");
    HeaderValue::try_from(text).unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_cannot_break_the_header() {
        assert_eq!(content_type("text/csv; header=present"), "text/csv; header=present");
        assert_eq!(content_type("text/csv\r\nSet-Cookie: a=b"), "application/octet-stream");
    }
}
