//! The outcome as a synchronous call would have answered it.

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};

use super::call::Call;
use super::conditional::{self, Found, not_modified};
use super::documents::{self, Answer};
use super::headers::{ERRORS, TYPE_URL, WARNINGS};
use super::problem::Problem;
use super::range::Extent;
use super::replay;
use crate::operation::{Operation, Outcome, PayloadForm, PayloadInfo, Revision, State};
use crate::service::{Document, OperationName, Reason, ServiceError, View};
use crate::wire::encode;

/// `GET …/{id}/result`: 202 until it is done; then the result itself (204 where there is none), or the problem
/// that it ended with. A partial success has its result, and counts its errors in a header; they stand in the
/// operation.
pub(super) async fn get(mut call: Call) -> Answer {
    let name = call.name_of(call.segment("id"))?;
    let wait = call.take_wait()?;
    call.finish_query()?;
    let Found { document, is_known } = conditional::find(&call, &name, wait, View::Basic).await?;
    if is_known && !has_failed(&document.operation) {
        return Ok(not_modified(&call, &document.operation));
    }
    let mut response = of(&call, &name, &document).await?;
    conditional::of_request(&mut response, &call);
    Ok(response)
}

/// Conditions are for answers that would be successes (RFC 9110, section 13.2.1).
fn has_failed(operation: &Operation) -> bool {
    matches!(
        operation.life.state,
        State::Done { outcome: Outcome::Failed { .. } | Outcome::Cancelled { .. }, .. }
    )
}

/// The outcome of an operation that is done; 202 and where to ask if it is not.
pub(super) async fn of(call: &Call, name: &OperationName, document: &Document) -> Answer {
    let operation = &document.operation;
    let mut response = match &operation.life.state {
        State::Done { outcome: Outcome::Failed { .. } | Outcome::Cancelled { .. }, .. } => {
            Problem::of_operation(&encode::operation(document)).into_response()
        }
        State::Done { outcome, .. } => success(call, name, operation, outcome).await?,
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
    outcome: &Outcome,
) -> Answer {
    let mut response = match operation.result() {
        Some(info) => contents(call, name, operation.life.revision, info).await?,
        None => StatusCode::NO_CONTENT.into_response(),
    };
    let (errors, warnings) = match outcome {
        Outcome::Succeeded { warnings, .. } => (0, warnings.len()),
        Outcome::PartiallySucceeded { errors, warnings, .. } => (errors.len(), warnings.len()),
        Outcome::Failed { .. } | Outcome::Cancelled { .. } => (0, 0),
    };
    for (name, count) in [(&ERRORS, errors), (&WARNINGS, warnings)] {
        if count > 0 {
            response.headers_mut().insert(name.clone(), count.into());
        }
    }
    Ok(response)
}

/// The result's bytes, or the part of them that is asked for.
async fn contents(
    call: &Call,
    name: &OperationName,
    revision: Revision,
    info: &PayloadInfo,
) -> Answer {
    let mut response = if call.parts.method == Method::HEAD {
        // Its length is known without reading it.
        ([(CONTENT_LENGTH, HeaderValue::from(info.size_bytes))], Body::empty()).into_response()
    } else {
        let (_, data) = call.service().result(&call.caller, name).await?;
        match extent(call, revision, info, data.len()) {
            Extent::Whole => Body::from(data).into_response(),
            Extent::Part(part) => {
                let range =
                    format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), data.len());
                let part = Body::from(data.slice(part));
                (StatusCode::PARTIAL_CONTENT, [(CONTENT_RANGE, range)], part).into_response()
            }
            Extent::Unsatisfiable => {
                let message = format!("the result has {} bytes", data.len());
                let error = ServiceError::new(Reason::RangeNotSatisfiable, message);
                let range = format!("bytes */{}", data.len());
                return Err(Problem::from(error)
                    .with_header(CONTENT_RANGE, documents::header_value(&range)?));
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, content_type(&info.content_type));
    if info.form == PayloadForm::Any {
        let type_url = HeaderValue::try_from(&info.type_url).ok();
        headers.extend(type_url.map(|url| (TYPE_URL.clone(), url)));
    }
    // A worker's bytes are served from this origin: a browser is neither to guess nor to run them.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if let Some(envelope) = &info.http {
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        replay::apply(envelope, &mut response);
        if is_part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
    }
    Ok(response)
}

/// What is asked for. Of a recorded response that was not a 200 there are no parts.
fn extent(call: &Call, revision: Revision, info: &PayloadInfo, length: usize) -> Extent {
    if info.http.as_ref().is_some_and(|envelope| !matches!(envelope.status, 0 | 200)) {
        return Extent::Whole;
    }
    let headers = &call.parts.headers;
    match headers.get(RANGE).and_then(|field| field.to_str().ok()) {
        Some(field) if conditional::range_applies(headers, revision) => Extent::of(field, length),
        _ => Extent::Whole,
    }
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
