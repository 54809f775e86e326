//! Requests about existing operations: get, status, list, cancel, run, delete, retry.

use axum::body::Body;
use axum::response::IntoResponse;
use http::StatusCode;

use super::call::Call;
use super::conditional::{self, Conditions, Found};
use super::documents::{self, Answer, page_of};
use super::problem::Problem;
use super::submission::{self, Face};
use crate::proto::v1;
use crate::service::{Document, ListParameters, OperationName, ServiceError, View};
use crate::wire::{decode, keys, size};

/// `GET /v1/operations`: a page.
pub(super) async fn list(mut call: Call) -> Answer {
    let page_size = call.query.take_number("page_size").unwrap_or_default();
    let page_token = call.query.take("page_token").unwrap_or_default();
    let filter = call.query.take("filter").unwrap_or_default();
    let order_by = call.query.take("order_by").unwrap_or_default();
    let view = call.take_view(View::Basic);
    let whose = keys::whose(&call.query.take("tenant").unwrap_or_default());
    let mut found = call.finish_query();
    let parameters = ListParameters {
        whose: found.take(whose).unwrap_or_default(),
        page_size,
        page_token: &page_token,
        filter: &filter,
        order_by: &order_by,
        within: &[],
    };
    let asked = parameters.read(&call.caller, &mut found);
    let asked = found.settle(asked)?;
    let page = call.service().list(&call.caller, asked, view, size::operation).await?;
    let (types, links) = (call.types(), call.links());
    let operations = page.entries.iter();
    let operations = operations.map(|document| documents::operation(types, &links, document));
    let operations = operations.collect::<Result<Vec<_>, _>>()?;
    Ok(documents::json(StatusCode::OK, &page_of("operations", operations, page.next_page_token)))
}

/// `GET …/{id}`: 202 until it is done, then 303 to the result.
pub(super) async fn get(mut call: Call) -> Answer {
    let wait = call.take_wait();
    let view = call.take_view(View::Full);
    let (name, found) = call.finish_path();
    let name = found.settle(name)?;
    let Found { document, verdict } = conditional::find(&call, &name, wait, view).await?;
    let (links, id) = (call.links(), document.operation.id());
    let (status, location) = if document.operation.is_done() {
        // Conditions apply to 2xx answers only; the redirect is sent even if the ETag matches.
        (StatusCode::SEE_OTHER, links.result(id))
    } else if let Some(response) = verdict.instead(&call, &document.operation)? {
        return Ok(response);
    } else {
        (StatusCode::ACCEPTED, links.operation(id))
    };
    let mut response = documents::answer(&call, status, Some(location), &document)?;
    conditional::of_request(&mut response, &call);
    Ok(response)
}

/// `GET …/{id}/status`: 200 with the status document, whatever the state.
pub(super) async fn status(mut call: Call) -> Answer {
    let wait = call.take_wait();
    let (name, found) = call.finish_path();
    let name = found.settle(name)?;
    let Found { document, verdict } = conditional::find(&call, &name, wait, View::Basic).await?;
    if let Some(response) = verdict.instead(&call, &document.operation)? {
        return Ok(response);
    }
    let mut response = documents::json(StatusCode::OK, &documents::status(&call, &document)?);
    documents::about(&mut response, &call, &document.operation);
    conditional::of_request(&mut response, &call);
    Ok(response)
}

/// `POST …/{id}:cancel`: 200 with the operation if it is now done; otherwise 202, as GET would return.
pub(super) async fn cancel(mut call: Call, body: Body) -> Answer {
    let (name, mut found) = call.finish_path();
    let call = &call;
    let conditions = found.take(Conditions::of(&call.parts.headers));
    let request = call.optional_message(body, &mut found).await?;
    let v1::CancelOperationRequest { name: in_body, reason } = request.unwrap_or_default();
    found.take(same_name(name.as_ref(), &in_body));
    let reason = found.take(decode::reason("reason", reason));
    let ((name, conditions), reason) = found.settle(name.zip(conditions).zip(reason))?;
    conditional::require(call, &name, conditions).await?;
    let document = call.service().cancel(&call.caller, &name, reason).await?;
    changed(call, &document)
}

/// 200 with the operation if it is done; otherwise 202 with the URL to poll.
fn changed(call: &Call, document: &Document) -> Answer {
    let location = call.links().operation(document.operation.id());
    match document.operation.is_done() {
        true => documents::answer(call, StatusCode::OK, None, document),
        false => documents::answer(call, StatusCode::ACCEPTED, Some(location), document),
    }
}

/// `POST …/{id}:run`: the response is like that to a cancel.
pub(super) async fn run(mut call: Call, body: Body) -> Answer {
    let (name, mut found) = call.finish_path();
    let call = &call;
    let conditions = found.take(Conditions::of(&call.parts.headers));
    let request = call.optional_message(body, &mut found).await?;
    let v1::RunOperationRequest { name: in_body } = request.unwrap_or_default();
    found.take(same_name(name.as_ref(), &in_body));
    let (name, conditions) = found.settle(name.zip(conditions))?;
    conditional::require(call, &name, conditions).await?;
    changed(call, &call.service().run_now(&call.caller, &name).await?)
}

/// `POST …/{id}:retry`: a new operation with the same input; the response is that to a submission.
pub(super) async fn retry(mut call: Call, body: Body) -> Answer {
    let (name, mut found) = call.finish_path();
    let call = &call;
    let conditions = found.take(Conditions::of(&call.parts.headers));
    let request = call.optional_message(body, &mut found).await?;
    let v1::RetryOperationRequest { name: in_body, idempotency_key } = request.unwrap_or_default();
    found.take(same_name(name.as_ref(), &in_body));
    let key = found.take(call.idempotency_key(&idempotency_key));
    let ((name, conditions), key) = found.settle(name.zip(conditions).zip(key))?;
    conditional::require(call, &name, conditions).await?;
    let submitted = call.service().retry(&call.caller, &name, key, None).await?;
    submission::answer(call, submitted, Face::Own).await
}

/// Refuses a name in the body that is not the path's.
pub(super) fn same_name(
    in_path: Option<&OperationName>,
    in_body: &str,
) -> Result<(), ServiceError> {
    let Some(in_path) = in_path.filter(|_| !in_body.is_empty()) else { return Ok(()) };
    let in_body = decode::operation_name("name", in_body)?;
    if in_body.id == in_path.id {
        return Ok(());
    }
    Err(ServiceError::invalid_field("name", "must be the operation in the path, or unset"))
}

/// `DELETE …/{id}`.
pub(super) async fn delete(call: Call) -> Answer {
    deleted(call).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes the operation in the path, if it meets the request's conditions.
pub(super) async fn deleted(mut call: Call) -> Result<(), Problem> {
    let (name, mut found) = call.finish_path();
    let conditions = found.take(Conditions::of(&call.parts.headers));
    let (name, conditions) = found.settle(name.zip(conditions))?;
    conditional::require(&call, &name, conditions).await?;
    Ok(call.service().delete(&call.caller, &name).await?)
}
