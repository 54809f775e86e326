//! API keys over HTTP.

use axum::body::Body;
use http::StatusCode;
use serde_json::Value;

use super::call::Call;
use super::documents::{self, Answer};
use crate::proto::v1;
use crate::service::keys::KeyListing;
use crate::wire::{decode, keys};

/// `POST /v1/keys`: 201 with the key, including its secret.
pub(super) async fn create(mut call: Call, body: Body) -> Answer {
    let mut found = call.finish_query();
    let request: Option<v1::CreateKeyRequest> = call.message(body, &mut found).await?;
    let new = request.and_then(|request| keys::new_key(request, &mut found));
    let new = found.settle(new)?;
    let (text, record) = call.service().create_key(&call.caller, new).await?;
    let made = v1::CreateKeyResponse { key: Some(keys::key(&record)), secret: text.text() };
    let made = documents::object(call.types(), &made)?;
    Ok(documents::json(StatusCode::CREATED, &Value::Object(made)))
}

/// `GET /v1/keys`: a page.
pub(super) async fn list(mut call: Call) -> Answer {
    let whose = keys::whose(&call.query.take("tenant").unwrap_or_default());
    let page_size = call.query.take_number("page_size").unwrap_or_default();
    let page_token = call.query.take("page_token").unwrap_or_default();
    let mut found = call.finish_query();
    let whose = found.take(whose);
    let listing = KeyListing::read(&call.caller, whose, page_size, &page_token, &mut found);
    let page = call.service().list_keys(&call.caller, found.settle(listing)?).await?;
    let (records, next_page_token) = page;
    let keys = records
        .iter()
        .map(|record| documents::object(call.types(), &keys::key(record)).map(Value::Object));
    let page = documents::page_of("keys", keys.collect::<Result<_, _>>()?, next_page_token);
    Ok(documents::json(StatusCode::OK, &page))
}

/// `POST /v1/keys/{key_id}:revoke`: 200 with the revoked key.
pub(super) async fn revoke(mut call: Call) -> Answer {
    let mut found = call.finish_query();
    let key_id = found.take(decode::given("key_id", call.segment("key_id")));
    let record = call.service().revoke_key(&call.caller, found.settle(key_id)?).await?;
    let key = documents::object(call.types(), &keys::key(&record))?;
    Ok(documents::json(StatusCode::OK, &Value::Object(key)))
}
