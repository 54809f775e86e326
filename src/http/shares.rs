//! Shares over HTTP: made and revoked under their operation, and used by their URL alone.
//!
//! The operation's own handlers serve requests by a share's URL, with a caller that may read nothing else.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::call::Call;
use super::documents::{self, Answer, page_of};
use super::operations::{self, same_name};
use super::{events, result};
use crate::proto::v1;
use crate::wire::{decode, shares};

/// `POST …/{id}/shares`: 201 with the share, its token included.
pub(super) async fn create(mut call: Call, body: Body) -> Answer {
    let (name, mut found) = call.finish_path();
    let request = call.optional_message(body, &mut found).await?;
    let v1::CreateShareRequest { name: in_body, ttl } = request.unwrap_or_default();
    found.take(same_name(name.as_ref(), &in_body));
    let ttl = found.take(shares::ttl(ttl));
    let (name, ttl) = found.settle(name.zip(ttl))?;
    let (token, record) = call.service().create_share(&call.caller, &name, ttl).await?;
    let (share, url) = (Some(shares::share(&record)), call.links().share(&token));
    let made = v1::CreateShareResponse { share, token, url };
    let made = documents::object(call.types(), &made)?;
    Ok(documents::json(StatusCode::CREATED, &Value::Object(made)))
}

/// `GET …/{id}/shares`.
pub(super) async fn list(mut call: Call) -> Answer {
    let (name, found) = call.finish_path();
    let name = found.settle(name)?;
    let listed = call.service().list_shares(&call.caller, &name).await?;
    let listed = listed.iter().map(|it| documents::object(call.types(), &shares::share(it)));
    let listed = listed.map(|it| it.map(Value::Object)).collect::<Result<_, _>>()?;
    Ok(documents::json(StatusCode::OK, &page_of("shares", listed, String::new())))
}

/// `POST …/{id}/shares/{share_id}:revoke`: 204.
pub(super) async fn revoke(mut call: Call) -> Answer {
    let (name, mut found) = call.finish_path();
    let share_id = found.take(decode::given("share_id", call.segment("share_id")));
    let (name, share_id) = found.settle(name.zip(share_id))?;
    call.service().revoke_share(&call.caller, &name, share_id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/shares/{token}`: as for the operation itself.
pub(super) async fn get(call: Call) -> Answer {
    operations::get(call.by_share()?).await.map(unreferred)
}

/// `GET /v1/shares/{token}/status`: as for the operation.
pub(super) async fn status(call: Call) -> Answer {
    operations::status(call.by_share()?).await.map(unreferred)
}

/// `GET /v1/shares/{token}/result`: as for the operation.
pub(super) async fn outcome(call: Call) -> Answer {
    result::get(call.by_share()?).await.map(unreferred)
}

/// `GET /v1/shares/{token}/events`: the operation's transitions as a stream.
pub(super) async fn watch(call: Call) -> Answer {
    events::watch(call.by_share()?).await.map(unreferred)
}

/// Makes browsers send no `Referer` from a result that is a page, and caches drop it when the share ends.
fn unreferred(mut answer: Response) -> Response {
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
