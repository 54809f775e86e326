//! The bytes of a payload as a response, or a range of them.

use std::future::Future;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};

use super::call::Call;
use super::conditional;
use super::documents::{self, Answer};
use super::headers::TYPE_URL;
use super::problem::Problem;
use super::range::Extent;
use super::replay;
use crate::operation::{HttpEnvelope, PayloadForm, PayloadInfo};
use crate::service::{Contents, Reason, ServiceError};

/// Responds with the payload that `info` describes; `contents` are not read if only their length is needed. `etag` is
/// their entity tag.
pub(super) async fn answer(
    call: &Call,
    etag: &str,
    info: &PayloadInfo,
    contents: impl Future<Output = Result<Contents, ServiceError>> + Send,
) -> Answer {
    let mut response = bytes(call, etag, info, contents).await?;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if info.form == PayloadForm::Any {
        let type_url = HeaderValue::try_from(&info.type_url).ok();
        headers.extend(type_url.map(|url| (TYPE_URL.clone(), url)));
    }
    // Workers' bytes are served from this origin: a browser must neither guess their type nor run them.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if let Some(envelope) = &info.http {
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        replay::apply(envelope, &call.parts.method, &mut response);
        if is_part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
    }
    Ok(response)
}

/// The response that `envelope` records, with this payload and no additional field, as if the request had passed
/// through to the API.
pub(super) async fn recorded(
    call: &Call,
    etag: &str,
    (info, envelope): (&PayloadInfo, &HttpEnvelope),
    contents: impl Future<Output = Result<Contents, ServiceError>> + Send,
) -> Answer {
    let mut response = bytes(call, etag, info, contents).await?;
    let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
    replay::apply_alone(envelope, &call.parts.method, &mut response);
    if is_part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Only the bytes, their length and their type.
async fn bytes(
    call: &Call,
    etag: &str,
    info: &PayloadInfo,
    contents: impl Future<Output = Result<Contents, ServiceError>> + Send,
) -> Answer {
    let mut response = if call.parts.method == Method::HEAD {
        of_length(Body::empty(), info.size_bytes)
    } else {
        part_or_whole(call, etag, contents.await?).await?
    };
    response.headers_mut().insert(CONTENT_TYPE, content_type(&info.content_type));
    Ok(response)
}

async fn part_or_whole(call: &Call, etag: &str, contents: Contents) -> Answer {
    let size = contents.size_bytes();
    match extent(call, etag, &contents.info, size) {
        Extent::Whole => {
            let body = Body::from_stream(contents.read(0..size).await?);
            Ok(of_length(body, size))
        }
        Extent::Part(part) => {
            let range = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
            let length = part.end.saturating_sub(part.start);
            let body = Body::from_stream(contents.read(part).await?);
            let mut response = of_length(body, length);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(CONTENT_RANGE, documents::header_value(&range)?);
            Ok(response)
        }
        Extent::Unsatisfiable => {
            let message = format!("there are {size} bytes");
            let error = ServiceError::new(Reason::RangeNotSatisfiable, message);
            let range = documents::header_value(&format!("bytes */{size}"))?;
            Err(Problem::from(error).with_header(CONTENT_RANGE, range))
        }
    }
}

/// A streamed body does not state its length.
fn of_length(body: Body, length: u64) -> Response {
    ([(CONTENT_LENGTH, HeaderValue::from(length))], body).into_response()
}

/// The requested range. A recorded response with a status other than 200 has no ranges.
fn extent(call: &Call, etag: &str, info: &PayloadInfo, length: u64) -> Extent {
    if info.http.as_ref().is_some_and(|envelope| !matches!(envelope.status, 0 | 200 | 202)) {
        return Extent::Whole;
    }
    let headers = &call.parts.headers;
    match headers.get(RANGE).and_then(|field| field.to_str().ok()) {
        Some(field) if conditional::range_applies(headers, etag) => Extent::of(field, length),
        _ => Extent::Whole,
    }
}

/// The declared content type, if it is a valid header value.
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
