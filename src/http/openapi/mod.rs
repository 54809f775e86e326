//! The interface as an OpenAPI 3.1 document, at `GET /openapi.json`.
//!
//! It is generated from the code: schemas of messages come from the descriptors that JSON uses, limits from the rules'
//! own constants, settings and reasons from their declarations, and the routes from the router's. Tests in `tests/http`
//! check every response against it.
//!
//! It describes only the canonical interface; a relay's upstream has its own documents.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::documents::{self, Answer};
use super::problem::Problem;
use super::route::Route;
use crate::proto::json::JsonError;
use crate::service::{Reason, ServiceError};

pub(super) mod answers;
mod fields;
pub(super) mod parameters;
mod schemas;
#[cfg(test)]
mod tests;

const ABOUT: &str = "\
Operations: pieces of work that outlive a request. Messages have the proto3 JSON form of those in \
`proto/longrun/v1/operations.proto`. Refusals are problem documents (RFC 9457); `Longrun-Error-Source` says whether the \
`gateway` refused the call or the `operation` failed. Under `/v1/tenants/`, lists and operations are \
Google's (`google.longrunning`), refusals included.

The server accepts query parameters in `snake_case` and `camelCase`, and refuses unknown ones. In bodies, fields may have \
their names in the protos as well, and whole numbers may be strings. `docs/http.md` of the project has more, with \
examples.";

/// `GET /openapi.json`.
pub(super) async fn get(mut call: Call, routes: fn() -> Vec<Route>) -> Answer {
    call.finish_query().check()?;
    let kept = &call.http.description;
    let text = match kept.get() {
        Some(text) => text.clone(),
        None => {
            let url = call.http.options.public_url.as_deref().unwrap_or("/");
            let document = document(url, &routes()).map_err(|error| {
                tracing::error!(%error, "the OpenAPI document cannot be made");
                Problem::from(ServiceError::new(Reason::Internal, "the document cannot be made"))
            })?;
            kept.get_or_init(|| documents::text(&document)).clone()
        }
    };
    Ok(documents::json_text(StatusCode::OK, text))
}

/// The document of a server at `url` with these routes.
fn document(url: &str, routes: &[Route]) -> Result<Value, JsonError> {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        if route.method == "get" {
            path["head"] = route.without_contents();
        }
        path[route.method] = route.operation();
        path["options"] = route.options();
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "longrun",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache License 2.0", "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": schemas::all()?,
            "parameters": parameters::all(),
            "headers": fields::all(),
            "responses": {"Problem": answers::problem(), "GoogleError": answers::google_error()},
        },
    }))
}
