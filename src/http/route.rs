//! One method of one resource, declared once: parameters, responses, reasons of refusals, and handler. The router,
//! `Allow` and the OpenAPI document are made from it.
//!
//! A handler sees only parameters that its route declares: other query parameters are refused, and header fields that
//! are parameters of other routes are removed.

use std::sync::LazyLock;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::request::Parts;
use serde_json::{Value, json};

use super::Http;
use super::body;
use super::call::{Call, caller};
use super::documents::Answer;
use super::openapi::answers::Answers;
use super::openapi::parameters;
use super::query::Parameters;
use crate::metrics;
use crate::service::Reason::{
    self, HostRefused, InvalidArgument, OriginRefused, RouteNotFound, UriTooLong,
};
use crate::service::{Action, access};

pub(super) type Handler = fn(Call, Body) -> BoxFuture<'static, Answer>;

/// The header fields that any route takes as parameters.
static FIELDS: LazyLock<Vec<String>> = LazyLock::new(parameters::fields);

/// One method of one resource.
pub(super) struct Route {
    pub(super) path: String,
    /// The method in lower case, as in OpenAPI.
    pub(super) method: &'static str,
    handler: Handler,
    /// The name in generated clients.
    id: String,
    /// The name in metrics; the same with a tenant in the path.
    pub(super) label: Option<metrics::Route>,
    summary: &'static str,
    parameters: Vec<&'static str>,
    body: Option<Value>,
    answers: Answers,
    /// The documented refusals, and those that fall under an answer's `default`.
    refusals: Vec<Reason>,
    ignores_query: bool,
    /// Whether it serves Google's client libraries: with errors in their form, and ignoring their system parameters.
    pub(super) is_googles: bool,
}

/// The suffix of the names of routes with a tenant.
const OF_TENANT: &str = "OfTenant";
/// Refusals before the form of the response is known.
const OUTSIDE: [Reason; 3] = [UriTooLong, HostRefused, OriginRefused];

impl Route {
    pub(super) fn new(
        method: &'static str,
        path: &str,
        id: &str,
        summary: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            path: path.to_owned(),
            method,
            handler,
            id: id.to_owned(),
            label: access::name_of_route(id).map(metrics::Route),
            summary,
            parameters: Vec::new(),
            body: None,
            answers: Answers::default(),
            refusals: Vec::new(),
            ignores_query: false,
            is_googles: false,
        }
    }

    pub(super) fn takes(mut self, parameters: &[&'static str]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Ignores the query, because probes may add anything to it.
    pub(super) fn ignores_query(mut self) -> Self {
        self.ignores_query = true;
        self
    }

    /// Serves Google's client libraries. Call this before declaring refusals.
    pub(super) fn for_google(mut self) -> Self {
        self.is_googles = true;
        self
    }

    pub(super) fn body(mut self, media_type: &str, schema: &Value, required: bool) -> Self {
        self.body =
            Some(json!({"required": required, "content": {media_type: {"schema": schema}}}));
        self
    }

    /// Accepts a body of one of these media types, each with its schema.
    pub(super) fn bodies(mut self, types: &[(&str, Value)], required: bool) -> Self {
        let mut content = json!({});
        for (media_type, schema) in types {
            content[media_type] = json!({"schema": schema});
        }
        self.body = Some(json!({"required": required, "content": content}));
        self
    }

    pub(super) fn answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    pub(super) fn refuses(mut self, reasons: &[Reason]) -> Self {
        let is_outside = |reason: &Reason| !self.is_googles || OUTSIDE.contains(reason);
        let (problems, googles): (Vec<Reason>, Vec<Reason>) =
            reasons.iter().copied().partition(is_outside);
        self.answers = self.answers.refused(&problems).refused_as_google(&googles);
        self.may_refuse(reasons)
    }

    /// Declares refusals that fall under an answer's `default`.
    pub(super) fn may_refuse(mut self, reasons: &[Reason]) -> Self {
        self.refusals.extend(reasons);
        self
    }

    /// Declares refusals that are due to how the route is declared.
    pub(super) fn whole(self) -> Self {
        if self.has_all_in_url() {
            return self.refuses(&[Reason::RequestTimeout]);
        }
        self
    }

    pub(super) fn under_tenant(mut self) -> Self {
        self.path = self.path.replacen("/v1", "/v1/tenants/{tenant}", 1);
        self.id += OF_TENANT;
        self.parameters.insert(0, "tenant");
        self
    }

    /// The inverse of [`Route::under_tenant`].
    pub(super) fn without_tenant(mut self) -> Self {
        self.path = self.path.replacen("/tenants/{tenant}", "", 1);
        self.parameters.retain(|name| *name != "tenant");
        self
    }

    /// The same for an operation that the client names by a share, as another method.
    pub(super) fn by_share(mut self, id: &str, summary: &'static str, handler: Handler) -> Self {
        self.path = self.path.replacen("/operations/{id}", "/shares/{token}", 1);
        self.parameters.retain(|name| !["id", "view"].contains(name));
        self.parameters.insert(0, "token.share");
        let id = id.to_owned();
        Self { id, summary, handler, ..self }.refuses(&[Reason::ShareNotFound, Reason::Unsupported])
    }

    /// The names of the parameters. A suffix after a dot distinguishes parameters with the same name.
    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.parameters.iter().filter_map(|key| key.split('.').next())
    }

    /// The route's action; `None` if the table lacks it, and then no caller may use it.
    fn action(&self) -> Option<Action> {
        access::action_of_route(self.id.strip_suffix(OF_TENANT).unwrap_or(&self.id))
    }

    /// The text after the colon of the last segment, which the router's patterns cannot express.
    pub(super) fn verb(&self) -> Option<&str> {
        self.path.rsplit('/').next()?.split_once(':').map(|(_, verb)| verb)
    }

    /// The name of the placeholder at the beginning of the last segment; empty if it has none.
    pub(super) fn last_place(&self) -> &str {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        last.strip_prefix('{').and_then(|last| last.split('}').next()).unwrap_or_default()
    }

    /// The router's pattern, which a resource's verbs share with the resource itself.
    pub(super) fn pattern(&self) -> String {
        match self.path.rsplit_once('/') {
            Some((parent, last)) if last.starts_with('{') => format!("{parent}/{{target}}"),
            _ => self.path.clone(),
        }
    }

    /// Removes header fields that are parameters of other routes only.
    fn sift(&self, headers: &mut HeaderMap) {
        for field in FIELDS.iter().filter(|field| !self.names().any(|name| name == *field)) {
            headers.remove(field);
        }
    }

    pub(super) async fn call(
        &self,
        http: &Http,
        mut parts: Parts,
        places: Vec<(String, String)>,
        body: Body,
    ) -> Answer {
        let caller = caller(&parts, self.action())?;
        self.sift(&mut parts.headers);
        let mut query =
            if self.ignores_query { Parameters::default() } else { Parameters::parse(&parts.uri) };
        if self.is_googles {
            query = query.without_system_parameters();
        }
        let is_place = |name: &str| places.iter().any(|(place, _)| place == name);
        query.only(self.names().filter(|name| !is_place(name)));
        let mut body = body;
        if self.has_all_in_url()
            && body::has_contents(&http.service, std::mem::take(&mut body)).await?
        {
            // It would be ignored without a word.
            query.note("body", "must be empty: the parameters of this method are in its URL");
        }
        (self.handler)(Call::new(http, caller, parts, places, query)?, body).await
    }

    /// Whether it changes something, with parameters in its URL only.
    fn has_all_in_url(&self) -> bool {
        self.method == "post" && self.body.is_none()
    }

    /// The OpenAPI entry.
    pub(super) fn operation(&self) -> Value {
        let mut reasons: Vec<&str> = self.refusals.iter().map(|reason| reason.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": parameters::refer(self.parameters.iter().copied()),
            "x-reasons": reasons,
        });
        if let Some(body) = &self.body {
            operation["requestBody"] = body.clone();
        }
        operation["responses"] = self.answers.all();
        operation
    }

    /// The OpenAPI entry for `HEAD`.
    pub(super) fn without_contents(&self) -> Value {
        let mut operation = self.operation();
        operation["operationId"] = format!("headOf{}", capitalised(&self.id)).into();
        operation["summary"] = "As GET, without a body".into();
        operation["responses"] = self.answers.without_contents();
        operation
    }

    /// The OpenAPI entry for `OPTIONS`, which works whether the resource exists or not.
    pub(super) fn options(&self) -> Value {
        let about =
            "The methods of this resource; for a browser's preflight, what its page may do.";
        let answers = Answers::default()
            .cacheable("204", about, &["Allow?", "Cache-Control?"])
            .refused(&[InvalidArgument, UriTooLong, HostRefused, RouteNotFound]);
        let segments = self.path.split(['{', '}']).skip(1).step_by(2);
        let segments: Vec<String> = segments.map(|name| format!("{name}.any")).collect();
        json!({
            "operationId": format!("optionsOf{}", capitalised(&self.id)),
            "summary": "The methods of this resource",
            "parameters": parameters::refer(segments.iter().map(String::as_str)),
            "responses": answers.all(),
        })
    }
}

fn capitalised(id: &str) -> String {
    let (first, rest) = id.split_at(1);
    first.to_ascii_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes;

    #[test]
    fn a_route_is_declared_once_and_takes_what_is_declared() {
        let mut declared = BTreeSet::new();
        let known = parameters::all();
        for route in routes::all() {
            assert!(["get", "post", "delete"].contains(&route.method), "{}", route.path);
            assert!(route.action().is_some(), "nobody may use {} {}", route.method, route.path);
            for parameter in &route.parameters {
                assert!(known.contains_key(*parameter), "{} takes {parameter}", route.path);
            }
            let places = route.path.split(['{', '}']).skip(1).step_by(2);
            for place in places {
                assert!(route.names().any(|name| name == place), "{} has {place}", route.path);
            }
            assert!(declared.insert((route.path.clone(), route.method)), "{} twice", route.path);
        }
    }
}
