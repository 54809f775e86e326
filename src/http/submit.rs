//! Submitting: a submission as JSON, or any body as the input of a kind.

use axum::body::Body;
use serde_json::Value;

use super::call::Call;
use super::documents::Answer;
use super::headers::of_a_body;
use super::problem::Problem;
use super::submission::{self, Face, Sent};
use crate::operation::{HttpEnvelope, Range, Setting, Settings};
use crate::proto::{json, v1};
use crate::service::ServiceError;
use crate::wire::decode;

/// `POST /v1/operations`: a `SubmitRequest` as JSON.
pub(super) async fn operation(mut call: Call, body: Body) -> Answer {
    call.finish_query()?;
    let mut request: v1::SubmitRequest = call.message(body).await?;
    request.idempotency_key = call.idempotency_key(&request.idempotency_key)?;
    let new = decode::new_operation(request, "", call.service().limits())?;
    let submitted = call.service().submit(&call.caller, new).await?;
    submission::answer(&call, submitted, Face::Own).await
}

/// `POST /v1/kinds/{kind}/operations`: the body, whatever it is, is the input. The rest of a submission stands
/// in the query: `label=KEY=VALUE` (may be repeated), `start_time` (RFC 3339), and all of [`Settings::ALL`].
pub(super) async fn of_kind(mut call: Call, body: Body) -> Answer {
    let mut request = v1::SubmitRequest {
        kind: call.segment("kind").to_owned(),
        idempotency_key: call.idempotency_key("")?,
        ..Default::default()
    };
    take_settings(&mut call, &mut request)?;
    call.finish_query()?;
    let new = decode::new_operation(request, "", call.service().limits()).map_err(by_parameter)?;
    let submitted = submission::take(&call, new, Sent::of(&call, envelope(&call), body)?).await?;
    submission::answer(&call, submitted, Face::Own).await
}

/// The request around an input that is more than bytes of a type. The query stands in the settings.
fn envelope(call: &Call) -> Option<HttpEnvelope> {
    let headers = of_a_body(&call.parts.headers);
    let envelope = || HttpEnvelope {
        method: call.parts.method.as_str().to_owned(),
        target: call.parts.uri.path().to_owned(),
        headers: headers.clone(),
        ..HttpEnvelope::default()
    };
    (!headers.is_empty()).then(envelope)
}

fn take_settings(call: &mut Call, request: &mut v1::SubmitRequest) -> Result<(), Problem> {
    for label in call.query.take_all("label") {
        let (key, value) = label
            .split_once('=')
            .ok_or_else(|| ServiceError::invalid_field("label", "must be KEY=VALUE"))?;
        if request.labels.insert(key.to_owned(), value.to_owned()).is_some() {
            let rule = format!("must give {key:?} once");
            return Err(ServiceError::invalid_field("label", rule).into());
        }
    }
    if let Some(time) = call.query.take("start_time")? {
        let rule = "must be a time like 2026-01-31T12:00:00Z";
        let time = time.parse().map_err(|_| ServiceError::invalid_field("start_time", rule))?;
        request.start_time = Some(time);
    }
    let mut given = Vec::new();
    for Setting { name, path, range, .. } in Settings::ALL {
        let value = match range {
            Range::Whole(..) => call.query.take_number(name)?.map(Value::from),
            Range::Real(..) => call.query.take_real(name)?.map(Value::from),
            Range::Time(..) => take_time(call, name)?.map(|time| time.to_string().into()),
        };
        given.extend(value.map(|value| (*path, value)));
    }
    request.settings = Some(json::from_fields(given)?);
    Ok(())
}

fn take_time(call: &mut Call, name: &str) -> Result<Option<prost_types::Duration>, ServiceError> {
    let time = call.query.take_duration(name)?.map(TryInto::try_into);
    time.transpose().map_err(|_| ServiceError::invalid_field(name, "is too long"))
}

/// The refusal of a setting under the name of its parameter.
fn by_parameter(mut error: ServiceError) -> ServiceError {
    if error.violations.is_empty() {
        return error;
    }
    for violation in &mut error.violations {
        let setting = violation.field.strip_prefix("settings.").and_then(Setting::at);
        if let Some(setting) = setting {
            setting.name.clone_into(&mut violation.field);
        }
    }
    ServiceError { message: ServiceError::invalid(error.violations.clone()).message, ..error }
}
