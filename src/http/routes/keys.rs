//! The routes of administrators.

use super::{ANY, CHANGE};
use crate::http::keys;
use crate::http::openapi::answers::{Answers, JSON, refer};
use crate::http::route::Route;
use crate::service::Reason::*;

pub(super) fn all() -> Vec<Route> {
    vec![create(), list(), revoke()]
}

fn create() -> Route {
    let about = "The key, with its secret, which no other response shows.";
    let answers = Answers::default().json("201", about, &[], "CreateKeyResponse");
    Route::new("post", "/v1/keys", "createKey", "Makes an API key", |call, body| {
        Box::pin(keys::create(call, body))
    })
    .takes(&["Content-Encoding.document"])
    .body(JSON, &refer("CreateKeyRequest"), true)
    .answers(answers)
    .refuses(&[&ANY[..], &CHANGE, &[ResourceExhausted, Unsupported]].concat())
}

fn list() -> Route {
    let answers = Answers::default().json("200", "A page.", &[], "ListKeysResponse");
    Route::new("get", "/v1/keys", "listKeys", "Lists API keys, without their secrets", |call, _| {
        Box::pin(keys::list(call))
    })
    .takes(&["tenant.keys", "page_size", "page_token"])
    .answers(answers)
    .refuses(&[&ANY[..], &[Unsupported]].concat())
}

fn revoke() -> Route {
    let answers = Answers::default().json("200", "The key after the call.", &[], "Key");
    Route::new(
        "post",
        "/v1/keys/{key_id}:revoke",
        "revokeKey",
        "Revokes an API key for good",
        |call, _| Box::pin(keys::revoke(call)),
    )
    .takes(&["key_id"])
    .answers(answers)
    .refuses(&[&ANY[..], &[OriginRefused, KeyNotFound, ResourceExhausted, Unsupported]].concat())
}
