//! Google's REST transports: a tenant's operations in the JSON of `google.longrunning`, and errors in the form that
//! Google's client libraries read.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::conditional::{self, Conditions, Found};
use super::documents::{self, Answer};
use super::operations::{deleted, same_name};
use super::problem::{Problem, http_status};
use crate::proto::google::longrunning;
use crate::proto::json::to_value;
use crate::service::{Document, View, code_name};
use crate::wire::google;

/// `GET …/operations/{id}`: the operation with its result.
pub(super) async fn get(mut call: Call) -> Answer {
    let (name, found) = call.finish_path();
    let name = found.settle(name)?;
    let Found { document, verdict } = conditional::find(&call, &name, None, View::Result).await?;
    if let Some(response) = verdict.instead(&call, &document.operation)? {
        return Ok(response);
    }
    let document = call.service().with_result(document, google::MAX_RESPONSE_BYTES).await?;
    let mut response = documents::json(StatusCode::OK, &operation(&call, &document)?);
    documents::about(&mut response, &call, &document.operation);
    Ok(response)
}

/// `GET …/operations`: a page.
pub(super) async fn list(mut call: Call) -> Answer {
    let request = longrunning::ListOperationsRequest {
        name: match call.segment("tenant") {
            "" => String::new(),
            tenant => format!("tenants/{tenant}"),
        },
        filter: call.query.take("filter").unwrap_or_default(),
        page_size: call.query.take_number("page_size").unwrap_or_default(),
        page_token: call.query.take("page_token").unwrap_or_default(),
        return_partial_success: call.query.take_flag("return_partial_success").unwrap_or_default(),
    };
    let found = call.finish_query();
    let asked = google::list(&call.caller, &request, "tenant", found)?;
    let page = call.service().list(&call.caller, asked, View::Result, google::size).await?;
    let operations = page.entries.iter().map(|document| operation(&call, document));
    let operations = operations.collect::<Result<Vec<_>, _>>()?;
    let page = documents::page_of("operations", operations, page.next_page_token);
    Ok(documents::json(StatusCode::OK, &page))
}

/// `POST …/operations/{id}:cancel`.
pub(super) async fn cancel(mut call: Call, body: Body) -> Answer {
    let (name, mut found) = call.finish_path();
    let conditions = found.take(Conditions::of(&call.parts.headers));
    let request: Option<longrunning::CancelOperationRequest> =
        call.optional_message(body, &mut found).await?;
    found.take(same_name(name.as_ref(), &request.unwrap_or_default().name));
    let (name, conditions) = found.settle(name.zip(conditions))?;
    conditional::require(&call, &name, conditions).await?;
    call.service().cancel(&call.caller, &name, String::new()).await?;
    Ok(documents::json(StatusCode::OK, &json!({})))
}

/// `DELETE …/operations/{id}`.
pub(super) async fn delete(call: Call) -> Answer {
    deleted(call).await?;
    Ok(documents::json(StatusCode::OK, &json!({})))
}

fn operation(call: &Call, document: &Document) -> Result<Value, Problem> {
    let mut operation = google::operation(document);
    // Some clients use this name for further requests, and accept only names in the form of the path.
    if call.segment("tenant").is_empty() {
        operation.name = document.operation.submission.id.name();
    }
    let mut operation = Value::Object(documents::object(call.types(), &operation)?);
    // Most JSON readers take Empty for a message without fields and without a JSON form of its own.
    let response = operation.get_mut("response").and_then(Value::as_object_mut);
    if let Some(response) = response.filter(|any| any["@type"] == google::EMPTY) {
        response.remove("value");
    }
    Ok(operation)
}

/// A refusal in Google's form, with the status of its code.
pub(super) fn refused(problem: Problem) -> Response {
    let Some(error) = problem.error() else {
        return problem.into_response();
    };
    let code = error.reason.grpc_code();
    let status =
        StatusCode::from_u16(http_status(code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let details = to_value(&google::refusal(error)).ok();
    let details = details.as_ref().and_then(|it| it.get("details")).cloned();
    let document = json!({"error": {
        "code": status.as_u16(),
        "message": error.message,
        "status": code_name(code),
        "details": details.unwrap_or_else(|| json!([])),
    }});
    let mut response = documents::json(status, &document);
    problem.mark(&mut response);
    response.headers_mut().extend(problem.headers().clone());
    response
}
