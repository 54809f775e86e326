//! Webhooks and their deliveries over HTTP.

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::StatusCode;
use serde_json::Value;

use super::call::Call;
use super::documents::{self, Answer};
use crate::operation::TenantId;
use crate::proto::v1;
use crate::service::ServiceError;
use crate::service::webhooks::WebhookRecord;
use crate::wire::webhooks;

/// `POST /v1/webhooks`: 201 with the webhook, including its secret.
pub(super) async fn create(mut call: Call, body: Body) -> Answer {
    let mut found = call.finish_query();
    let request: Option<v1::CreateWebhookRequest> = call.message(body, &mut found).await?;
    let new = request.and_then(|request| webhooks::new_webhook(request, &mut found));
    let new = found.settle(new)?;
    let (made, secret) = call.service().create_webhook(&call.caller, new).await?;
    let webhook = Some(webhooks::webhook(&made));
    let made = v1::CreateWebhookResponse { webhook, secret: secret.text() };
    let made = documents::object(call.types(), &made)?;
    Ok(documents::json(StatusCode::CREATED, &Value::Object(made)))
}

/// `GET /v1/webhooks`.
pub(super) async fn list(mut call: Call) -> Answer {
    let tenant = tenant(&mut call)?;
    let listed = call.service().list_webhooks(&call.caller, tenant)?;
    let listed = listed.iter().map(|it| documents::object(call.types(), &webhooks::webhook(it)));
    let listed = listed.map(|it| it.map(Value::Object)).collect::<Result<_, _>>()?;
    Ok(documents::json(StatusCode::OK, &documents::page_of("webhooks", listed, String::new())))
}

/// `DELETE /v1/webhooks/{webhook_id}`: 204.
pub(super) async fn delete(mut call: Call) -> Answer {
    let tenant = tenant_of(&mut call, "webhook_id")?;
    call.service().delete_webhook(&call.caller, tenant, call.segment("webhook_id")).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/webhooks/{webhook_id}:pause`: the webhook.
pub(super) async fn pause(mut call: Call) -> Answer {
    let tenant = tenant_of(&mut call, "webhook_id")?;
    let id = call.segment("webhook_id");
    let record = call.service().pause_webhook(&call.caller, tenant, id).await?;
    shown(&call, &record)
}

/// `POST /v1/webhooks/{webhook_id}:resume`: the webhook.
pub(super) async fn resume(mut call: Call) -> Answer {
    let tenant = tenant_of(&mut call, "webhook_id")?;
    let id = call.segment("webhook_id");
    let record = call.service().resume_webhook(&call.caller, tenant, id).await?;
    shown(&call, &record)
}

fn shown(call: &Call, record: &WebhookRecord) -> Answer {
    let webhook = documents::object(call.types(), &webhooks::webhook(record))?;
    Ok(documents::json(StatusCode::OK, &Value::Object(webhook)))
}

/// The tenant of a query without other parameters.
fn tenant(call: &mut Call) -> Result<Option<TenantId>, ServiceError> {
    let tenant = webhooks::tenant(&call.query.take("tenant").unwrap_or_default());
    let mut found = call.finish_query();
    let tenant = found.take(tenant);
    found.settle(tenant)
}

/// The same of a request about the object with the id `field` in its path.
fn tenant_of(call: &mut Call, field: &str) -> Result<Option<TenantId>, ServiceError> {
    let name = call.query.take("tenant").unwrap_or_default();
    let mut found = call.finish_query();
    let tenant = webhooks::tenant_of(&name, (field, call.segment(field)), &mut found);
    found.settle(tenant)
}

/// `GET /v1/webhooks/{webhook_id}/secret`: the secret.
pub(super) async fn secret(mut call: Call) -> Answer {
    let tenant = tenant_of(&mut call, "webhook_id")?;
    let id = call.segment("webhook_id");
    let (record, secret) = call.service().webhook_secret(&call.caller, tenant, id)?;
    let webhook = Some(webhooks::webhook(&record));
    let answer = v1::GetWebhookSecretResponse { webhook, secret: secret.text() };
    Ok(documents::json(StatusCode::OK, &Value::Object(documents::object(call.types(), &answer)?)))
}

/// `POST /v1/webhooks/{webhook_id}:rotate`: the new secret.
pub(super) async fn rotate(mut call: Call) -> Answer {
    let tenant = tenant_of(&mut call, "webhook_id")?;
    let id = call.segment("webhook_id");
    let (record, secret) = call.service().rotate_webhook_secret(&call.caller, tenant, id).await?;
    let webhook = Some(webhooks::webhook(&record));
    let answer = v1::RotateWebhookSecretResponse { webhook, secret: secret.text() };
    Ok(documents::json(StatusCode::OK, &Value::Object(documents::object(call.types(), &answer)?)))
}

/// `GET /v1/deliveries`: a page.
pub(super) async fn deliveries(mut call: Call) -> Answer {
    let request = v1::ListDeliveriesRequest {
        tenant: call.query.take("tenant").unwrap_or_default(),
        state: call.query.take("state").unwrap_or_default(),
        page_size: call.query.take_number("page_size").unwrap_or_default(),
        page_token: call.query.take("page_token").unwrap_or_default(),
        webhook_id: call.query.take("webhook_id").unwrap_or_default(),
        operation: call.query.take("operation").unwrap_or_default(),
    };
    let mut found = call.finish_query();
    let listing = webhooks::listing(request, &call.caller, &mut found);
    let listing = found.settle(listing)?;
    let (records, next) = call.service().list_deliveries(&call.caller, listing).await?;
    let listed = records.iter().map(|it| documents::object(call.types(), &webhooks::delivery(it)));
    let listed = listed.map(|it| it.map(Value::Object)).collect::<Result<_, _>>()?;
    Ok(documents::json(StatusCode::OK, &documents::page_of("deliveries", listed, next)))
}

/// `POST /v1/deliveries/{delivery_id}:redeliver`: 200 with the delivery's new state.
pub(super) async fn redeliver(mut call: Call) -> Answer {
    let tenant = tenant_of(&mut call, "delivery_id")?;
    let id = call.segment("delivery_id");
    let again = call.service().redeliver(&call.caller, tenant, id).await?;
    let again = documents::object(call.types(), &webhooks::delivery(&again))?;
    Ok(documents::json(StatusCode::OK, &Value::Object(again)))
}
