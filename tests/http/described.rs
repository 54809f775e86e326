//! Holds answers against the server's own OpenAPI document: no method, status, parameter or reason that it lacks.

use axum::Router;
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tokio::sync::OnceCell;
use tonic::codegen::Service as _;

/// What any path may be refused for: that there is nothing here, or not by this method, no document says of a path.
const ANYWHERE: [&str; 2] = ["ROUTE_NOT_FOUND", "METHOD_NOT_ALLOWED"];

static DOCUMENT: OnceCell<Value> = OnceCell::const_new();

/// The document of any of the servers: they differ in their URLs only.
async fn document(router: &Router) -> &'static Value {
    let document = async || {
        let request = Request::get("/openapi.json").body(axum::body::Body::empty());
        let Ok(response) = router.clone().call(request.expect("a request")).await;
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        serde_json::from_slice(&body).expect("a document")
    };
    DOCUMENT.get_or_init(document).await
}

/// Panics where the document lacks what was answered to a request.
pub(crate) async fn hold(
    router: &Router,
    (method, target): (&str, &str),
    (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // Google's form has its description under tenants; its system parameters have none.
    let is_googles = query.contains("$alt=") && path.starts_with("/v1/operations");
    let path = if is_googles { path.replacen("/v1", "/v1/tenants/x", 1) } else { path.to_owned() };
    let document = document(router).await;
    let Some((template, methods)) = described(document, &path) else { return };
    let place = format!("{method} {template}");
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let by_gateway = headers.get("longrun-error-source").is_some_and(|it| it == "gateway");
    let reason = problem["reason"].as_str().filter(|_| by_gateway);
    if reason.is_some_and(|reason| ANYWHERE.contains(&reason)) || status == 405 {
        return;
    }
    let operation = &methods[method.to_ascii_lowercase()];
    assert!(operation.is_object(), "{place} is not described");
    let answers = &operation["responses"];
    let is_listed = answers.get(status.as_str()).or_else(|| answers.get("default"));
    assert!(is_listed.is_some(), "{place} answers {status}, which is not described");
    if let Some(reason) = reason.filter(|_| operation.get("x-reasons").is_some()) {
        let reasons = operation["x-reasons"].as_array().expect("reasons");
        assert!(reasons.iter().any(|it| it == reason), "{place} lacks the reason {reason}");
    }
    if status.as_u16() < 400 && method != "OPTIONS" {
        let taken = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("$alt="));
        for name in taken.filter_map(|pair| pair.split('=').next()) {
            assert!(
                takes(document, operation, name),
                "{place} takes {name}, which is not described"
            );
        }
    }
}

#[tokio::test]
#[should_panic(expected = "POST /v1/operations/{id}:cancel lacks the reason STALE_ATTEMPT")]
async fn a_reason_that_the_document_lacks_is_noticed() {
    let server = crate::support::Server::start().await;
    let headers = [("longrun-error-source", "gateway")];
    let headers = headers.map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, http::HeaderValue::from_static(value))
    });
    let answer = (
        StatusCode::BAD_REQUEST,
        &headers.into_iter().collect(),
        &b"{\"reason\": \"STALE_ATTEMPT\"}"[..],
    );
    hold(&server.router, ("POST", "/v1/operations/x:cancel"), answer).await;
}

#[tokio::test]
#[should_panic(expected = "GET /v1/operations/{id} takes page_size, which is not described")]
async fn a_parameter_that_the_document_lacks_is_noticed() {
    let server = crate::support::Server::start().await;
    let answer = (StatusCode::ACCEPTED, &HeaderMap::new(), &b"{}"[..]);
    hold(&server.router, ("GET", "/v1/operations/x?page_size=1"), answer).await;
}

/// The template that a path is of, one without places before others.
fn described<'d>(document: &'d Value, path: &str) -> Option<(&'d String, &'d Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let matches = |template: &str| {
        let (mut ours, mut theirs) = (path.split('/'), template.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(our), Some(their)) if is_of(our, their) => {}
                _ => return false,
            }
        }
    };
    let literal = paths.get_key_value(path);
    literal.or_else(|| paths.iter().find(|(template, _)| matches(template)))
}

fn is_of(segment: &str, template: &str) -> bool {
    match template.split_once('}') {
        Some((_, "")) => !segment.contains(':'),
        Some((_, verb)) => segment.ends_with(verb),
        None => segment == template,
    }
}

fn takes(document: &Value, operation: &Value, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    operation["parameters"].as_array().into_iter().flatten().any(|parameter| {
        let reference = parameter["$ref"].as_str().unwrap_or_default();
        let found = document.pointer(reference.trim_start_matches('#'));
        let found = found.and_then(|it| it["name"].as_str()).unwrap_or_default();
        plain(found) == plain(name)
    })
}
