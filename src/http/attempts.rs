//! Workers over plain HTTP: acquire an attempt, and report to its URL.

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::call::Call;
use super::documents::{self, Answer, header_value};
use super::headers::{is_json, of_a_body};
use super::submission::{self, Sent};
use super::{contents, input};
use crate::operation::{HttpEnvelope, Payload};
use crate::proto::v1;
use crate::service::{Acquired, AttemptToken, Report, Violations};
use crate::wire::{decode, encode, reports};

/// The name of workers that give none.
const NAMELESS: &str = "http";
/// The error code of a failure reported as plain text.
const FAILED: &str = "FAILED";
/// The maximum size of such a text, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// `POST /v1/kinds/{kind}:acquire`: an attempt of the kind; waits for up to `wait`; 204 if none came.
pub(super) async fn acquire(mut call: Call) -> Answer {
    // Without `wait` or a preference the response is immediate, as everywhere.
    let wait = call.take_wait().unwrap_or_default().try_into();
    let timeout = wait.map_err(|_| call.query.note("wait", "is too long")).ok();
    let request_id = call.query.take("request_id");
    if request_id.as_deref() == Some("") {
        call.query.note("request_id", "must not be empty");
    }
    let request = v1::AcquireRequest {
        worker_id: call.query.take("worker_id").unwrap_or_else(|| NAMELESS.to_owned()),
        kinds: vec![call.segment("kind").to_owned()],
        max_attempts: 1,
        timeout,
        lease_duration: call.query.take_time("lease_duration"),
        request_id: request_id.unwrap_or_default(),
    };
    let mut found = call.finish_query();
    let acquire = reports::acquire(&request, &mut found);
    // The field of the kind, renamed as in the path.
    let found = found.renamed(|field| {
        if field.starts_with("kinds") {
            "kind".clone_into(field);
        }
    });
    let mut acquired = call.service().acquire(&call.caller, found.settle(acquire)?).await?;
    match acquired.pop() {
        Some(acquired) => document(&call, acquired),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// `GET /v1/attempts/{token}`: the attempt as it was acquired. Does not renew the lease.
pub(super) async fn get(mut call: Call) -> Answer {
    let (token, found) = token(&mut call);
    let token = found.settle(token)?;
    let acquired = call.service().attempt(&call.caller, &token).await?;
    document(&call, acquired)
}

/// The attempt and its URL. The input has the form in which it was submitted, unless it is large.
fn document(call: &Call, acquired: Acquired) -> Answer {
    let token = call.service().sign_attempt(&acquired.token);
    let location = call.links().attempt(&token);
    let trace = call.service().spans().context_of_attempt(&acquired.operation);
    let mut message = reports::acquired(&acquired, token, trace);
    let id = acquired.operation.id();
    let operation = message.operation.take().unwrap_or_default();
    let operation = documents::located(call.types(), &call.links(), id, &operation)?;
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

/// `GET /v1/attempts/{token}/input`: the operation's input, unchanged; 204 if there is none.
pub(super) async fn get_input(mut call: Call) -> Answer {
    let (token, found) = token(&mut call);
    let token = found.settle(token)?;
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

/// `POST /v1/attempts/{token}:renew`: renews the lease, with or without progress.
pub(super) async fn renew(mut call: Call, body: Body) -> Answer {
    let (token, mut found) = token(&mut call);
    let request = call.optional_message(body, &mut found).await?;
    let v1::RenewRequest { token: in_body, progress } = request.unwrap_or_default();
    check_token(&call, &in_body, &mut found);
    let token = found.settle(token)?;
    let now = call.service().now();
    let progress = progress.map(|progress| decode::progress(progress, now));
    let renewed = call.service().renew_attempt(&call.caller, &token, progress).await?;
    let answer = documents::object(call.types(), &reports::renewed(&renewed, &token))?;
    Ok(documents::json(StatusCode::OK, &Value::Object(answer)))
}

/// `POST /v1/attempts/{token}:complete`: the body is the result, whatever it is.
pub(super) async fn complete(mut call: Call, body: Body) -> Answer {
    let (token, mut found) = token(&mut call);
    let headers = of_a_body(&call.parts.headers);
    let envelope = || HttpEnvelope { status: 200, headers: headers.clone(), ..Default::default() };
    let envelope = (!headers.is_empty()).then(envelope);
    let sent = Sent::of(&call, envelope, body, &mut found);
    let (token, sent) = found.settle(token.zip(sent))?;
    // A large result is not received for an attempt that is over.
    call.service().admit_report(&call.caller, &token).await?;
    let result = submission::take_in_payload(&call, sent).await?;
    let (warnings, errors) = (Vec::new(), Vec::new());
    tell(&call, &token, Report::Complete { result, contents: None, warnings, errors }).await
}

/// `POST /v1/attempts/{token}:fail`: a `FailRequest` as JSON; any other text is the message, with the other fields in
/// the query.
pub(super) async fn fail(mut call: Call, body: Body) -> Answer {
    let is_text = !call.content_type().is_ok_and(is_json);
    let query = &mut call.query;
    let in_query = is_text.then(|| v1::FailRequest {
        error: Some(v1::Error {
            code: query.take("code").unwrap_or_else(|| FAILED.to_owned()),
            ..v1::Error::default()
        }),
        r#final: query.take_flag("final").unwrap_or_default(),
        retry_delay: query.take_time("retry_delay"),
        ..v1::FailRequest::default()
    });
    let (token, mut found) = token(&mut call);
    let request = match in_query {
        Some(mut request) => {
            found.take(call.content_type());
            let message = call.text(body, MAX_TEXT, &mut found).await?.unwrap_or_default();
            if let Some(error) = &mut request.error {
                message.trim_end().clone_into(&mut error.message);
            }
            Some(request)
        }
        None => call.message(body, &mut found).await?,
    };
    let report = request.map(|request| {
        let v1::FailRequest { token, error, r#final: is_final, retry_delay } = request;
        check_token(&call, &token, &mut found);
        reports::failure("", error, is_final, retry_delay, &mut found)
    });
    let (token, report) = found.settle(token.zip(report))?;
    tell(&call, &token, report).await
}

/// `POST /v1/attempts/{token}:release`: the attempt goes back to the queue.
pub(super) async fn release(mut call: Call) -> Answer {
    let (token, found) = token(&mut call);
    tell(&call, &found.settle(token)?, Report::Release).await
}

/// `POST /v1/attempts/{token}:log`: an `AddLogRequest` as JSON; of any other text, each line is a log line.
pub(super) async fn log(mut call: Call, body: Body) -> Answer {
    let (token, mut found) = token(&mut call);
    let media_type = found.take(call.content_type());
    let lines = if media_type.is_some_and(is_json) {
        let request: Option<v1::AddLogRequest> = call.message(body, &mut found).await?;
        let v1::AddLogRequest { token, lines } = request.unwrap_or_default();
        check_token(&call, &token, &mut found);
        lines
    } else {
        let text = call.text(body, reports::MAX_LOG_BYTES, &mut found).await?;
        text.unwrap_or_default().lines().map(str::to_owned).collect()
    };
    let report = reports::log("", lines, &mut found);
    tell(&call, &found.settle(token)?, report).await
}

/// 204 once the report is durable.
async fn tell(call: &Call, token: &AttemptToken, report: Report) -> Answer {
    call.service().report_attempt(&call.caller, token, report).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The attempt in the path, and the violations of path and query, which this consumes.
fn token(call: &mut Call) -> (Option<AttemptToken>, Violations) {
    let mut found = call.finish_query();
    (found.take(call.service().attempt_of("token", call.segment("token"))), found)
}

/// Refuses a token in the body that is not the path's.
fn check_token(call: &Call, in_body: &str, found: &mut Violations) {
    if !in_body.is_empty() && in_body != call.segment("token") {
        found.note("token", "must be the token in the path, or unset");
    }
}
