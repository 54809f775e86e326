//! What an operation was submitted with, as it came.

use axum::response::IntoResponse as _;
use http::StatusCode;
use http::header::ETAG;

use super::call::Call;
use super::documents::{self, Answer};
use super::{conditional, contents};
use crate::operation::Revision;
use crate::service::View;

/// An input is the same at every revision.
const REVISION: Revision = Revision(1);

/// `GET …/{id}/input`: the input, whatever the state; 204 where there is none.
pub(super) async fn get(mut call: Call) -> Answer {
    let name = call.name_of(call.segment("id"))?;
    call.finish_query()?;
    let document = call.service().get(&call.caller, &name, View::Basic).await?;
    let mut response = match &document.operation.submission.input {
        Some(info) => {
            let input = call.service().input(&call.caller, &name, None);
            contents::answer(&call, REVISION, info, input).await?
        }
        None => StatusCode::NO_CONTENT.into_response(),
    };
    let etag = documents::header_value(&conditional::etag(REVISION))?;
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}
