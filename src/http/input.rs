//! An operation's input, unchanged.

use axum::response::IntoResponse as _;
use http::header::ETAG;
use http::{HeaderValue, StatusCode};

use super::call::Call;
use super::conditional::{Validators, judge};
use super::contents;
use super::documents::Answer;
use crate::service::View;

/// The entity tag of every input: it never changes.
pub(super) const TAG: &str = "\"1\"";

/// `GET …/{id}/input`: the input, whatever the state; 204 if there is none.
pub(super) async fn get(mut call: Call) -> Answer {
    let (name, found) = call.finish_path();
    let name = found.settle(name)?;
    let document = call.service().get(&call.caller, &name, View::Basic).await?;
    let verdict = judge(&call, &Validators { etag: TAG.to_owned(), modified: None })?;
    let instead = verdict.instead(&call, &document.operation)?;
    if let Some(mut response) = instead {
        response.headers_mut().insert(ETAG, HeaderValue::from_static(TAG));
        return Ok(response);
    }
    let mut response = match &document.operation.submission.input {
        Some(info) => {
            let input = call.service().input(&call.caller, &name, None);
            contents::answer(&call, TAG, info, input).await?
        }
        None => StatusCode::NO_CONTENT.into_response(),
    };
    response.headers_mut().insert(ETAG, HeaderValue::from_static(TAG));
    Ok(response)
}
