//! Operations as messages of `google.longrunning`, and the names in their requests.

use std::sync::Arc;

use bytes::Bytes;
use prost::{Message, Name};
use prost_types::Any;

use super::{encode, json_value, time};
use crate::operation::payload::is_json;
use crate::operation::{
    ErrorSource, OperationError, Outcome, PayloadForm, PayloadInfo, State, TenantId,
};
use crate::proto::google::longrunning::operation::Result as Ending;
use crate::proto::google::{api, longrunning, rpc};
use crate::proto::v1;
use crate::service::keys::Whose;
use crate::service::{
    Caller, Document, ListParameters, ListRequest, Reason, ServiceError, Violations, own_tenant,
};

/// The largest response within an operation, in encoded bytes, because clients refuse messages over 4 MiB.
pub const MAX_RESPONSE_BYTES: usize = 3 << 20;
/// The response's type if there is no result.
pub const EMPTY: &str = "type.googleapis.com/google.protobuf.Empty";
/// The domain of the service's own errors.
const DOMAIN: &str = "longrun";

/// An operation with its document's result.
pub fn operation(document: &Document) -> longrunning::Operation {
    let operation = &document.operation;
    let submission = &operation.submission;
    let basic = encode::operation(&Document::basic(Arc::clone(operation)));
    let result = match &operation.life.state {
        State::Done { outcome, .. } => Some(match outcome {
            Outcome::Failed { error } => {
                Ending::Error(status(i32::from(error.status_code), error, submission.kind.as_str()))
            }
            Outcome::Cancelled { error } => {
                Ending::Error(status(CANCELLED, error, submission.kind.as_str()))
            }
            Outcome::Succeeded { .. } | Outcome::PartiallySucceeded { .. } => {
                Ending::Response(response(document))
            }
        }),
        State::Queued { .. } | State::Running { .. } | State::Cancelling { .. } => None,
    };
    longrunning::Operation {
        name: format!("tenants/{}/{}", submission.tenant, submission.id.name()),
        metadata: Some(any(&v1::OperationMetadata { operation: Some(basic) })),
        done: operation.is_done(),
        result,
    }
}

/// The encoded size of an operation, in bytes.
pub fn size(document: &Document) -> usize {
    operation(document).encoded_len()
}

/// The code of a cancelled operation, whatever code its worker reported.
const CANCELLED: i32 = 1;

/// The error of an operation of this kind that ended without a result.
fn status(code: i32, error: &OperationError, kind: &str) -> rpc::Status {
    let domain = match error.source {
        ErrorSource::Application => kind,
        ErrorSource::Service => DOMAIN,
    };
    let mut details = vec![any(&rpc::ErrorInfo {
        reason: error.code.clone(),
        domain: domain.to_owned(),
        metadata: error.metadata.clone(),
    })];
    if !error.causes.is_empty() {
        details.push(any(&encode::error(error)));
    }
    // Some clients show only the message.
    let message = if error.message.is_empty() { &error.code } else { &error.message };
    rpc::Status { code, message: message.clone(), details }
}

/// The result: as a message if it is one; only described if there is no room for it.
fn response(document: &Document) -> Any {
    let Some(info) = document.operation.result() else { return any(&()) };
    let data = document.result.clone().or_else(|| (info.size_bytes == 0).then(Bytes::new));
    let carried = data.map(|data| carried(info, data));
    let carried = carried.filter(|response| response.value.len() <= MAX_RESPONSE_BYTES);
    carried.unwrap_or_else(|| any(&v1::Payload { omitted: true, ..encode::payload(info, None) }))
}

fn carried(info: &PayloadInfo, data: Bytes) -> Any {
    if info.form == PayloadForm::Any {
        return Any { type_url: info.type_url.clone(), value: data.into() };
    }
    let is_json = info.form == PayloadForm::Json || is_json(&info.content_type);
    // A recorded HTTP response can only be expressed by a payload.
    if is_json
        && info.http.is_none()
        && let Some(value) = json_value::from_json(&data)
    {
        return any_of("google.protobuf.Value", &value);
    }
    let extensions = info.http.iter().map(|http| any(&encode::shown_envelope(http))).collect();
    any(&api::HttpBody { content_type: info.content_type.clone(), data, extensions })
}

fn any<M: Message + Name>(message: &M) -> Any {
    any_of(&M::full_name(), message)
}

fn any_of(full_name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{full_name}"), value: message.encode_to_vec() }
}

/// The error of a refused call, with the details of every refusal.
pub fn refusal(error: &ServiceError) -> rpc::Status {
    let metadata = error.metadata.clone();
    let reason = error.reason.as_str().to_owned();
    let mut details = vec![any(&rpc::ErrorInfo { reason, domain: DOMAIN.to_owned(), metadata })];
    if !error.violations.is_empty() {
        let violations = error.violations.iter().map(|it| rpc::bad_request::FieldViolation {
            field: it.field.clone(),
            description: it.description.clone(),
            ..Default::default()
        });
        details.push(any(&rpc::BadRequest { field_violations: violations.collect() }));
    }
    if let Some(delay) = error.retry_after {
        details.push(any(&rpc::RetryInfo { retry_delay: Some(time::encode_duration(delay)) }));
    }
    if error.reason == Reason::ResourceExhausted {
        let violation = rpc::quota_failure::Violation {
            subject: match error.metadata.get("tenant") {
                Some(tenant) => format!("tenants/{tenant}"),
                None => "server".to_owned(),
            },
            description: error.message.clone(),
            ..Default::default()
        };
        details.push(any(&rpc::QuotaFailure { violations: vec![violation] }));
    }
    rpc::Status { code: error.reason.grpc_code(), message: error.message.clone(), details }
}

/// Reads a request for a page of the caller's own list. `field` is where it names the tenant.
pub fn list(
    caller: &Caller,
    request: &longrunning::ListOperationsRequest,
    field: &str,
    mut found: Violations,
) -> Result<ListRequest, ServiceError> {
    found.take(check_list(request));
    let tenant = found.take(tenant(field, &request.name)).flatten();
    let parameters = ListParameters {
        whose: Whose::Own,
        page_size: request.page_size,
        page_token: &request.page_token,
        filter: &request.filter,
        order_by: "",
        within: &[],
    };
    let asked = parameters.read(caller, &mut found);
    let asked = found.settle(asked)?;
    own_tenant(caller, tenant.as_ref())?;
    Ok(asked)
}

/// The tenant of a list: `tenants/{tenant}`, with or without `/operations`. `None` (the caller's own) for an empty name
/// and for `operations`.
fn tenant(field: &str, name: &str) -> Result<Option<TenantId>, ServiceError> {
    let tenant = match name.strip_prefix("tenants/") {
        Some(rest) => rest.strip_suffix("/operations").unwrap_or(rest),
        None if matches!(name, "" | "operations") => return Ok(None),
        None => "",
    };
    let rule = "must be tenants/{tenant}, or empty for the caller's own";
    TenantId::parse(tenant).map(Some).map_err(|_| ServiceError::invalid_field(field, rule))
}

/// Refuses options that a list does not support.
fn check_list(request: &longrunning::ListOperationsRequest) -> Result<(), ServiceError> {
    if request.return_partial_success {
        let message = "return_partial_success must not be set: no list of this service is partial";
        return Err(ServiceError::new(Reason::Unsupported, message));
    }
    Ok(())
}
