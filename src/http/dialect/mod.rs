//! Requests under the paths of a dialect: finds the mount and the route, and calls the handler.
//!
//! Decodes and responds. [`crate::dialect`] has the dialect's words; operations are below `service`.

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
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
use crate::operation::Owner;
use crate::relay::target;
use crate::service::{Caller, Reason, ServiceError};

mod events;
mod list;
mod operation;
mod subject;
mod submit;
mod visit;

pub(super) use submit::{Admission, accepted};
pub(super) use visit::Visit;

/// The mount and the route that a request matches.
struct Hit<'a> {
    mount: &'a Mount,
    /// The values of the path's placeholders.
    places: Vec<(&'a str, &'a str)>,
    place: Place<'a>,
}

enum Place<'a> {
    Route(&'a Route),
    Submit(&'a Submit),
    /// The path belongs to a mount, but only for these methods.
    Allows(String),
}

/// Handles a request whose path belongs to a mount; returns any other request.
pub(super) async fn answer(http: &Http, request: Request) -> Result<Response, Request> {
    let path = request.uri().path().to_owned();
    let Some(hit) = find(&http.options.dialects, request.method(), &path) else {
        return Err(request);
    };
    let is_head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let visit = Visit::of(http, hit.mount, &parts, &hit.places);
    let answer = match hit.place {
        Place::Allows(methods) => allows(&parts.method, &methods),
        place if is_refused(http, &place, &parts) => Err(cors::refusal()),
        place => match Call::by_mount(http, &parts, hit.mount.tenant.as_ref()) {
            Ok(call) => serve(call, &visit, place, body).await,
            Err(problem) => Err(problem),
        },
    };
    let mut response = answer.unwrap_or_else(|problem| refused(http, &visit, problem));
    if is_head {
        strip_body(&mut response);
    }
    Ok(response)
}

/// Whether a page of another site requests a change; a submission is one whatever its method.
fn is_refused(http: &Http, place: &Place<'_>, parts: &Parts) -> bool {
    match place {
        Place::Submit(_) => cors::is_foreign(http, parts, &[]),
        Place::Route(_) | Place::Allows(_) => cors::is_refused(http, parts),
    }
}

/// A refusal, in the dialect's words if it has any for it.
pub(super) fn refused(http: &Http, visit: &Visit<'_>, problem: Problem) -> Response {
    match visit.refused(&problem, http.service.now()) {
        Some(Ok(response)) => response,
        Some(Err(problem)) => problem.into_response(),
        None => problem.into_response(),
    }
}

/// The refusal of a request that nothing handles, in the words of the dialect under whose mount its path is, if it has
/// any for it.
pub(super) fn refused_at(http: &Http, parts: &Parts, problem: Problem) -> Response {
    let path = parts.uri.path();
    let mounts = http.options.dialects.iter().filter(|mount| mount.covers(path));
    let Some(mount) = mounts.max_by_key(|mount| mount.site.prefix.len()) else {
        return problem.into_response();
    };
    let places = mount.site.prefix.places_above(path).unwrap_or_default();
    let mut response = refused(http, &Visit::of(http, mount, parts, &places), problem);
    if parts.method == Method::HEAD {
        strip_body(&mut response);
    }
    response
}

fn strip_body(response: &mut Response) {
    let length = response.body().size_hint().exact();
    let headers = response.headers_mut();
    if let Some(length) = length.filter(|_| !headers.contains_key(CONTENT_LENGTH)) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
}

fn find<'a>(mounts: &'a [Mount], method: &Method, path: &'a str) -> Option<Hit<'a>> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    for mount in mounts {
        let routes = mount.dialect.routes.iter().zip(&mount.site.routes);
        let routes = routes.map(|(route, path)| (&route.method, path, Place::Route(route)));
        let submit = mount.submit.iter();
        let submit = submit.map(|submit| (&submit.method, &submit.path, Place::Submit(submit)));
        let mut allowed: Vec<&Method> = Vec::new();
        for (own, pattern, place) in routes.chain(submit) {
            let Some(places) = pattern.places_of(path) else { continue };
            if own == method {
                return Some(Hit { mount, places, place });
            }
            allowed.push(own);
        }
        if !allowed.is_empty() {
            let places = mount.site.prefix.places_above(path).unwrap_or_default();
            return Some(Hit { mount, places, place: Place::Allows(methods(&allowed)) });
        }
    }
    None
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

fn allows(method: &Method, methods: &str) -> Answer {
    let allow =
        HeaderValue::try_from(methods).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"));
    if method == Method::OPTIONS {
        return Ok((StatusCode::NO_CONTENT, [(http::header::ALLOW, allow)]).into_response());
    }
    Err(Problem::not_allowed(method, allow))
}

async fn serve(call: Call, visit: &Visit<'_>, place: Place<'_>, body: Body) -> Answer {
    // A placeholder accepts any segment except those that some readers take for another path.
    target::check(call.parts.uri.path())
        .map_err(|rule| ServiceError::invalid_field("path", rule.to_string()))?;
    match place {
        Place::Route(route) => list::read(call, visit, route).await,
        Place::Submit(submit) => submit::submit(call, visit, submit, body).await,
        Place::Allows(_) => Err(Problem::no_route(call.parts.uri.path())),
    }
}

/// The caller, with the owner that the request's credentials stand for if operations of this dialect have owners. The
/// credentials are not verified here; they are compared, and never stored.
fn caller(call: &Call, mount: &Mount) -> Result<Caller, Problem> {
    if !mount.dialect.has_owners {
        return Ok(call.caller.clone());
    }
    let mut fields = call.parts.headers.get_all(&mount.credentials).iter();
    match (fields.next(), fields.next(), call.caller.subject()) {
        (Some(field), None, _) if !field.is_empty() => {
            let owner = Owner::of_credentials(call.service().secret(), field.as_bytes());
            Ok(call.caller.clone().with_owner(owner))
        }
        // Its credentials were for this server, and were removed.
        (None, None, Some(subject)) => {
            let owner = Owner::of_subject(call.service().secret(), &call.caller.tenant, subject);
            Ok(call.caller.clone().with_owner(owner))
        }
        _ => {
            let message =
                format!("the request must have credentials, once, in {}", mount.credentials);
            Err(ServiceError::new(Reason::Unauthenticated, message).into())
        }
    }
}

fn not_found(name: &str) -> Problem {
    ServiceError::new(Reason::OperationNotFound, format!("there is no operation {name}")).into()
}
