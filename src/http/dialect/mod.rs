//! Requests under the paths of a dialect: which mount and route they are for, and what is done with them.
//!
//! Decodes and answers. What a dialect says stands in [`crate::dialect`]; what an operation is, below `service`.

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts as _, Query, Request};
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use super::call::Call;
use super::documents::Answer;
use super::problem::Problem;
use super::{Http, cors};
use crate::config::dialect::{Mount, Submit};
use crate::dialect::Route;
use crate::operation::{Operation, Owner};
use crate::relay::target;
use crate::service::{Caller, Reason, ServiceError};

mod document;
mod read;
mod submit;

pub(super) use submit::{Admission, accepted, refused};

/// What a request is for.
struct Hit<'a> {
    mount: &'a Mount,
    place: Place<'a>,
}

enum Place<'a> {
    /// A route, with the id of its path.
    Route(&'a Route, &'a str),
    Submit(&'a Submit),
    /// The path is a mount's, for these methods.
    Allows(String),
}

/// Answers a request whose path is a mount's.
pub(super) async fn answer(http: &Http, request: Request) -> Result<Response, Request> {
    let path = request.uri().path().to_owned();
    let Some(hit) = find(&http.options.dialects, request.method(), &path) else {
        return Err(request);
    };
    let mount = hit.mount;
    let is_head = request.method() == Method::HEAD;
    let answer = match hit.place {
        Place::Allows(methods) => Ok(allows(request.method(), &methods)),
        _ if cors::is_refused(http, &request) => Err(cors::refusal()),
        place => serve(http, mount, place, request).await,
    };
    let mut response = answer.unwrap_or_else(|problem| refused(http, mount, problem));
    if is_head {
        let length = response.body().size_hint().exact();
        let headers = response.headers_mut();
        if let Some(length) = length.filter(|_| !headers.contains_key(CONTENT_LENGTH)) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}

fn find<'a>(mounts: &'a [Mount], method: &Method, path: &'a str) -> Option<Hit<'a>> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    for mount in mounts {
        let Some(rest) = below(&mount.prefix, path) else { continue };
        let mut allowed: Vec<&Method> = Vec::new();
        for route in &mount.dialect.routes {
            let Some(places) = route.path.places_of(rest) else { continue };
            if route.method == *method {
                let id = places.first().map_or("", |(_, id)| id);
                return Some(Hit { mount, place: Place::Route(route, id) });
            }
            allowed.push(&route.method);
        }
        for submit in &mount.submit {
            if submit.path.places_of(rest).is_some() {
                if submit.method == *method {
                    return Some(Hit { mount, place: Place::Submit(submit) });
                }
                allowed.push(&submit.method);
            }
        }
        if !allowed.is_empty() {
            return Some(Hit { mount, place: Place::Allows(methods(&allowed)) });
        }
    }
    None
}

/// What follows the prefix, from its slash on; nothing where the path is the prefix itself.
fn below<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn methods(allowed: &[&Method]) -> String {
    let mut names = Vec::new();
    for method in allowed {
        names.push(method.as_str());
        if **method == Method::GET {
            names.push("HEAD");
        }
    }
    names.push("OPTIONS");
    names.join(",")
}

fn allows(method: &Method, methods: &str) -> Response {
    let allow =
        HeaderValue::try_from(methods).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"));
    if method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [(http::header::ALLOW, allow)]).into_response();
    }
    Problem::not_allowed(method, allow).into_response()
}

async fn serve(http: &Http, mount: &Mount, place: Place<'_>, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    // A place in a path takes any segment: but none that some reader takes for another path.
    target::check(parts.uri.path())
        .map_err(|rule| ServiceError::invalid_field("path", rule.to_string()))?;
    let call = Call::from_request_parts(&mut parts, http).await?;
    match place {
        Place::Route(route, id) => read::read(call, mount, route, id).await,
        Place::Submit(submit) => submit::submit(call, mount, submit, body).await,
        Place::Allows(_) => Err(Problem::no_route(parts.uri.path())),
    }
}

/// Who asks: where operations have owners, whoever has these credentials. Whether they are good is not known here;
/// they are compared, and never kept.
fn caller(call: &Call, mount: &Mount) -> Result<Caller, Problem> {
    if !mount.dialect.has_owners {
        return Ok(call.caller.clone());
    }
    let mut fields = call.parts.headers.get_all(&mount.credentials).iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) if !field.is_empty() => {
            let owner = Some(Owner::of_credentials(field.as_bytes()));
            Ok(Caller { owner, ..call.caller.clone() })
        }
        _ => {
            let message = format!("there must be credentials, once, in {}", mount.credentials);
            let problem = Problem::from(ServiceError::new(Reason::Unauthenticated, message));
            let challenge = HeaderValue::from_static("Bearer");
            Err(problem.with_header(http::header::WWW_AUTHENTICATE, challenge))
        }
    }
}

/// The first value of a query parameter.
fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).ok()?;
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The path of the relay that requests came in by.
fn relay_prefix<'a>(http: &'a Http, mount: &Mount) -> &'a str {
    let name = mount.relay.as_deref().unwrap_or_default();
    http.options.relay.named(name).map_or("", |relay| relay.mount.prefix.as_str())
}

/// An operation of another mount is not here.
fn of_mount(mount: &Mount, operation: &Operation) -> Result<(), Problem> {
    if operation.is_of_mount(&mount.name) { Ok(()) } else { Err(not_found(&operation.id().name())) }
}

fn not_found(name: &str) -> Problem {
    ServiceError::new(Reason::OperationNotFound, format!("there is no operation {name}")).into()
}
