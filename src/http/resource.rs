//! The resources of the router: the routes that share a path.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, any};
use http::{HeaderValue, Method};

use super::Http;
use super::call::segments;
use super::documents::Answer;
use super::problem::Problem;
use super::route::Route;
use super::{google, query};
use crate::spans::PathTemplate;

/// The routes that share a pattern of the router.
pub(super) struct Resource(Vec<Route>);

impl Resource {
    /// Groups `routes` by pattern.
    pub(super) fn all(routes: Vec<Route>) -> BTreeMap<String, Self> {
        let mut all = BTreeMap::new();
        for route in routes {
            all.entry(route.pattern()).or_insert_with(|| Self(Vec::new())).0.push(route);
        }
        all
    }

    pub(super) fn served(self) -> MethodRouter<Http> {
        let resource = Arc::new(self);
        any(move |State(http): State<Http>, request: Request| async move {
            let answer = resource.serve(&http, request).await;
            answer.unwrap_or_else(|problem| problem.into_response())
        })
    }

    async fn serve(&self, http: &Http, request: Request) -> Answer {
        let (mut parts, body) = request.into_parts();
        let mut places = segments(&mut parts, http).await?;
        if places.iter().any(|(_, value)| value.is_empty()) {
            // Handlers take a missing place for a route without it.
            return Err(Problem::no_route(parts.uri.path()));
        }
        let mut verb = None;
        for (name, value) in &mut places {
            if name == "target" {
                // No id, kind or token contains a colon.
                if let Some((id, after)) = value.split_once(':') {
                    (verb, *value) = (Some(after.to_owned()), id.to_owned());
                }
                let place = self.0.first().map_or("", Route::last_place);
                place.clone_into(name);
            }
        }
        let here = self.0.iter().filter(|route| route.verb() == verb.as_deref());
        let here: Vec<&Route> = here.collect();
        if here.is_empty() {
            return Err(Problem::no_route(parts.uri.path()));
        }
        if parts.method == Method::OPTIONS {
            return Ok(super::options(allow(&here)));
        }
        let asked = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        let of_method =
            here.iter().filter(|route| asked.as_str().eq_ignore_ascii_case(route.method));
        // At most two, one of which serves Google's client libraries.
        let is_of_google = query::is_of_google(&parts.uri);
        let route = of_method.max_by_key(|route| route.is_googles == is_of_google);
        let Some(route) = route else {
            return Err(Problem::not_allowed(&parts.method, allow(&here)));
        };
        let mut response = match route.call(http, parts, places, body).await {
            Err(problem) if route.is_googles => google::refused(problem),
            answer => answer.unwrap_or_else(|problem| problem.into_response()),
        };
        if let Some(label) = route.label {
            response.extensions_mut().insert(label);
        }
        if !http.service.spans().are_off() {
            response.extensions_mut().insert(PathTemplate(route.path.clone()));
        }
        Ok(response)
    }
}

/// The methods of routes that share a path.
fn allow(routes: &[&Route]) -> HeaderValue {
    let has = |method: &str| routes.iter().any(|route| route.method == method);
    let methods = [("get", "GET,HEAD,"), ("post", "POST,"), ("delete", "DELETE,")];
    let methods = methods.into_iter().filter(|(method, _)| has(method)).map(|(_, names)| names);
    let methods = methods.collect::<String>() + "OPTIONS";
    HeaderValue::try_from(methods).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes;

    #[test]
    fn the_methods_of_a_path_are_those_of_its_routes() {
        let all = Resource::all(routes::all());
        let of = |pattern: &str, verb: Option<&str>| {
            let routes = &all[pattern].0;
            allow(&routes.iter().filter(|route| route.verb() == verb).collect::<Vec<_>>())
        };
        assert_eq!(of("/v1/operations", None), "GET,HEAD,POST,OPTIONS");
        assert_eq!(of("/v1/operations/{target}", None), "GET,HEAD,DELETE,OPTIONS");
        assert_eq!(of("/v1/operations/{target}", Some("retry")), "POST,OPTIONS");
        assert_eq!(of("/v1/kinds/{kind}/operations", None), "POST,OPTIONS");
        assert_eq!(of("/v1/kinds/{target}", Some("acquire")), "POST,OPTIONS");
        assert_eq!(of("/v1/attempts/{target}", None), "GET,HEAD,OPTIONS");
    }
}
