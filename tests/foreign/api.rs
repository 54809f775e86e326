//! An HTTP API that exists already, and what it answers.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode};

use crate::site::Site;
use crate::support::Server;

/// A request and the API's answer to it.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) request: &'static str,
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) location: &'static str,
    pub(crate) body: Vec<u8>,
}

/// One of each sort.
pub(crate) fn exchanges() -> Vec<Exchange> {
    let get = |path, status, content_type, body: &[u8]| Exchange {
        method: "GET",
        path,
        request: "",
        status,
        content_type,
        location: "",
        body: body.to_vec(),
    };
    // Every byte there is, more of them than fit into an operation's JSON.
    let binary: Vec<u8> = (0..200_000_u32).map(|at| ((at * 31) >> 3) as u8).collect();
    let made = get("/made", 201, "application/json", br#"{"thing": 7}"#);
    vec![
        get("/report.json", 200, "application/json; charset=utf-8", b"{\"n\": 1.00}\n"),
        get(
            "/table.csv",
            200,
            "text/csv; header=present",
            "device,zustand\r\n7,g\u{fc}ltig\r\n".as_bytes(),
        ),
        get("/binary", 200, "application/octet-stream", &binary),
        Exchange { method: "POST", request: "name=seven", location: "/things/7", ..made },
        Exchange { method: "POST", request: "all", ..get("/export", 200, "image/x-raw", &binary) },
        get("/none", 204, "", b""),
        get("/missing", 404, "text/html", b"<h1>no</h1>"),
        get("/broken", 503, "text/plain", b"sorry"),
    ]
}

/// Answers as [`exchanges`] has it, a moment later if the query says so.
async fn answer(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = |it: &Exchange| (it.method, it.path) == (parts.method.as_str(), parts.uri.path());
    let known = exchanges().into_iter().find(|it| asked(it) && it.request.as_bytes() == body);
    let Some(known) = known else { return StatusCode::IM_A_TEAPOT.into_response() };
    if parts.uri.query() == Some("slow") {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut response = (StatusCode::from_u16(known.status).unwrap(), known.body).into_response();
    let headers = response.headers_mut();
    headers.remove("content-type");
    for (name, value) in [("content-type", known.content_type), ("location", known.location)] {
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// A server in front of the API, under `/api`.
pub(crate) async fn relay(arguments: &[&str]) -> (Server, Site) {
    let api = Site::start(Router::new().fallback(answer)).await;
    let mount =
        format!("[[relay]]\nname = \"api\"\nprefix = \"/api\"\nupstream = \"{}\"\n", api.url);
    (Server::start_with(arguments, Some(&mount)), api)
}
