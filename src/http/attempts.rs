//! A worker of plain HTTP: it asks for an attempt, gets its URL, and reports there.

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::call::Call;
use super::documents::{self, Answer, header_value};
use super::headers::{is_json, of_a_body};
use super::problem::Problem;
use super::submission::{self, Sent};
use super::{contents, input};
use crate::operation::{HttpEnvelope, Payload};
use crate::proto::v1;
use crate::service::{Acquired, AttemptToken, Document, Report, ServiceError, Violation};
use crate::wire::{decode, encode, reports};

/// The name of a worker that gives none.
const NAMELESS: &str = "http";
/// The code of a failure that is told as plain text without one.
const FAILED: &str = "FAILED";
/// Most bytes of such a text.
const MAX_TEXT: usize = 64 << 10;

/// `POST /v1/kinds/{kind}:acquire`: an attempt of the kind, held for up to `wait`; 204 where none came.
pub(super) async fn acquire(mut call: Call) -> Answer {
    let duration = |given: Option<std::time::Duration>, field| {
        let given = given.map(TryInto::try_into).transpose();
        given.map_err(|_| ServiceError::invalid_field(field, "is too long"))
    };
    let request = v1::AcquireRequest {
        worker_id: call.query.take("worker_id")?.unwrap_or_else(|| NAMELESS.to_owned()),
        kinds: vec![call.segment("kind").to_owned()],
        max_attempts: 1,
        // What holds no request is answered at once, here as everywhere.
        timeout: duration(Some(call.take_wait()?.unwrap_or_default()), "wait")?,
        lease_duration: duration(call.query.take_duration("lease_duration")?, "lease_duration")?,
        request_id: call.query.take("request_id")?.unwrap_or_default(),
    };
    call.finish_query()?;
    let acquire = reports::acquire(&request).map_err(by_parameter)?;
    let mut acquired = call.service().acquire(&call.caller, acquire).await?;
    match acquired.pop() {
        Some(acquired) => document(&call, acquired),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// The refusal of the one kind under the name that the path has for it.
fn by_parameter(mut error: ServiceError) -> ServiceError {
    for violation in &mut error.violations {
        if violation.field.starts_with("kinds") {
            "kind".clone_into(&mut violation.field);
        }
    }
    ServiceError::invalid(error.violations)
}

/// `GET /v1/attempts/{token}`: the attempt as it was acquired. It is no sign of life.
pub(super) async fn get(mut call: Call) -> Answer {
    call.finish_query()?;
    let token = token(&call)?;
    let acquired = call.service().attempt(&call.caller, &token).await?;
    document(&call, acquired)
}

/// The attempt and its URL. The input is of the form that it was submitted in, unless it is large.
fn document(call: &Call, acquired: Acquired) -> Answer {
    let token = call.service().sign_attempt(&acquired.token);
    let location = call.links().attempt(&token);
    let message = reports::acquired(&acquired, token);
    let operation = Document::basic(acquired.operation);
    let operation = documents::operation(call.types(), &call.links(), &operation)?;
    let input = acquired.input.map(|Payload { info, data }| {
        let data = info.object.is_none().then_some(data);
        encode::payload(&info, data)
    });
    let mut object = documents::object(call.types(), &v1::AcquiredAttempt { input, ..message })?;
    object.insert("operation".to_owned(), operation);
    object.insert("location".to_owned(), location.clone().into());
    let mut response = documents::json(StatusCode::OK, &Value::Object(object));
    response.headers_mut().insert(LOCATION, header_value(&location)?);
    Ok(response)
}

/// `GET /v1/attempts/{token}/input`: the operation's input, as it came; 204 where there is none.
pub(super) async fn get_input(mut call: Call) -> Answer {
    call.finish_query()?;
    let token = token(&call)?;
    let operation = call.service().operation_of_attempt(&call.caller, &token).await?;
    let (name, session) = (token.name(), Some(token.session()));
    let mut response = match &operation.submission.input {
        Some(info) => {
            let input = call.service().input(&call.caller, &name, session);
            contents::answer(&call, input::TAG, info, input).await?
        }
        None => StatusCode::NO_CONTENT.into_response(),
    };
    response.headers_mut().insert(ETAG, HeaderValue::from_static(input::TAG));
    Ok(response)
}

/// `POST /v1/attempts/{token}:renew`: a sign of life, with progress or without.
pub(super) async fn renew(mut call: Call, body: Body) -> Answer {
    call.finish_query()?;
    let token = token(&call)?;
    let request: v1::RenewRequest = call.optional_message(body).await?;
    same_token(&call, &request.token)?;
    let now = call.service().now();
    let progress = request.progress.map(|progress| decode::progress(progress, now));
    let renewed = call.service().renew_attempt(&call.caller, &token, progress).await?;
    let answer = documents::object(call.types(), &reports::renewed(&renewed, &token))?;
    Ok(documents::json(StatusCode::OK, &Value::Object(answer)))
}

/// `POST /v1/attempts/{token}:complete`: the body, whatever it is, is the result.
pub(super) async fn complete(mut call: Call, body: Body) -> Answer {
    call.finish_query()?;
    let token = token(&call)?;
    // A large result of an attempt that is over is not taken in.
    call.service().admit_report(&call.caller, &token).await?;
    let headers = of_a_body(&call.parts.headers);
    let envelope = || HttpEnvelope { status: 200, headers: headers.clone(), ..Default::default() };
    let envelope = (!headers.is_empty()).then(envelope);
    let sent = Sent::of(&call, envelope, body)?;
    let result = submission::take_in_payload(&call, sent).await?;
    let (warnings, errors) = (Vec::new(), Vec::new());
    let report = Report::Complete { result, contents: None, warnings, errors };
    tell(&call, &token, report, Vec::new()).await
}

/// `POST /v1/attempts/{token}:fail`: a `FailRequest` as JSON; or any other text, which is the message, with the rest in
/// the query.
pub(super) async fn fail(mut call: Call, body: Body) -> Answer {
    let token = token(&call)?;
    let request = if is_json(call.content_type()?) {
        call.finish_query()?;
        let request: v1::FailRequest = call.message(body).await?;
        same_token(&call, &request.token)?;
        request
    } else {
        let code = call.query.take("code")?.unwrap_or_else(|| FAILED.to_owned());
        let is_final = call.query.take_flag("final")?.unwrap_or_default();
        let delay = call.query.take_duration("retry_delay")?.map(TryInto::try_into).transpose();
        let too_long = |_| ServiceError::invalid_field("retry_delay", "is too long");
        let retry_delay = delay.map_err(too_long)?;
        call.finish_query()?;
        let message = call.text(body, MAX_TEXT).await?;
        let message = message.trim_end().to_owned();
        let error = Some(v1::Error { code, message, ..Default::default() });
        v1::FailRequest { token: String::new(), error, r#final: is_final, retry_delay }
    };
    let v1::FailRequest { error, r#final: is_final, retry_delay, .. } = request;
    let mut found = Vec::new();
    let report = reports::failure("", error, is_final, retry_delay, &mut found);
    tell(&call, &token, report, found).await
}

/// `POST /v1/attempts/{token}:release`: the attempt goes back to the queue.
pub(super) async fn release(mut call: Call) -> Answer {
    call.finish_query()?;
    let token = token(&call)?;
    tell(&call, &token, Report::Release, Vec::new()).await
}

/// `POST /v1/attempts/{token}:log`: an `AddLogRequest` as JSON; or any other text, each line of which is one.
pub(super) async fn log(mut call: Call, body: Body) -> Answer {
    call.finish_query()?;
    let token = token(&call)?;
    let lines = if is_json(call.content_type()?) {
        let request: v1::AddLogRequest = call.message(body).await?;
        same_token(&call, &request.token)?;
        request.lines
    } else {
        let text = call.text(body, reports::MAX_LOG_BYTES).await?;
        text.lines().map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    let report = reports::log("", lines, &mut found);
    tell(&call, &token, report, found).await
}

/// 204 once the report is durable.
async fn tell(
    call: &Call,
    token: &AttemptToken,
    report: Report,
    violations: Vec<Violation>,
) -> Answer {
    if !violations.is_empty() {
        return Err(ServiceError::invalid(violations).into());
    }
    call.service().report_attempt(&call.caller, token, report).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn token(call: &Call) -> Result<AttemptToken, ServiceError> {
    call.service().attempt_of(call.segment("token"))
}

/// A token in the body must be that of the path.
fn same_token(call: &Call, in_body: &str) -> Result<(), Problem> {
    if in_body.is_empty() || in_body == call.segment("token") {
        return Ok(());
    }
    let rule = "must be the token of the path, or left out";
    Err(ServiceError::invalid_field("token", rule).into())
}
