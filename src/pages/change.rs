//! Changes of one operation from its page: each is a form, and redirects to a page with the outcome.

use axum::response::Response;

use super::operation::named;
use super::to;
use super::visit::Visit;
use crate::operation::Kind;
use crate::service::ServiceError;
use crate::wire::decode;

/// `POST operations/ID/cancel`.
pub(super) async fn cancel(visit: &Visit) -> Result<Response, ServiceError> {
    let name = named(visit)?;
    let reason = decode::reason("reason", visit.form.word("reason").to_owned())?;
    visit.service().cancel(&visit.caller, &name, reason).await?;
    Ok(to(&format!("../{}", name.id)))
}

/// `POST operations/ID/run-now`.
pub(super) async fn run_now(visit: &Visit) -> Result<Response, ServiceError> {
    let name = named(visit)?;
    visit.service().run_now(&visit.caller, &name).await?;
    Ok(to(&format!("../{}", name.id)))
}

/// `POST operations/ID/retry`: redirects to the new operation.
pub(super) async fn retry(visit: &Visit) -> Result<Response, ServiceError> {
    let name = named(visit)?;
    // A form that is sent again must not submit again.
    let key = format!("pages:{}:{}", name.id, visit.form.word("once"));
    let key = decode::idempotency_key("once", &key)?;
    let submitted = visit.service().retry(&visit.caller, &name, key, None).await?;
    Ok(to(&format!("../{}", submitted.document.operation.id())))
}

/// `POST kinds/KIND/pause`: for the caller's tenant.
pub(super) async fn pause_kind(visit: &Visit) -> Result<Response, ServiceError> {
    visit.service().pause_kind(&visit.caller, None, kind(visit)?).await?;
    Ok(to("../../kinds"))
}

/// `POST kinds/KIND/resume`.
pub(super) async fn resume_kind(visit: &Visit) -> Result<Response, ServiceError> {
    visit.service().resume_kind(&visit.caller, None, kind(visit)?).await?;
    Ok(to("../../kinds"))
}

fn kind(visit: &Visit) -> Result<Kind, ServiceError> {
    let kind = visit.places.first().map(String::as_str).unwrap_or_default();
    Kind::parse(kind).map_err(|rule| ServiceError::invalid_field("kind", rule.to_string()))
}

/// `POST operations/ID/delete`.
pub(super) async fn delete(visit: &Visit) -> Result<Response, ServiceError> {
    visit.service().delete(&visit.caller, &named(visit)?).await?;
    Ok(to("../../operations"))
}
