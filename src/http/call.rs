//! A request, as handlers see it: caller, operation, preferences.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts as _, RawPathParams};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::coding::Coding;
use super::headers::{IDEMPOTENCY_KEY, Preferences, idempotency_key, is_json};
use super::links::Links;
use super::problem::Problem;
use super::query::Parameters;
use super::{Http, body};
use crate::operation::{IdempotencyKey, TenantId};
use crate::proto::types::KnownTypes;
use crate::proto::{json, v1};
use crate::service::{
    Action, Caller, Identity, OperationName, Reason, Service, ServiceError, View, Violations,
};
use crate::wire::decode;

/// Room for the rest of a JSON body in bytes, beyond twice the payload, which base64 and escapes may need.
const JSON_SLACK: usize = 64 << 10;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) http: Http,
    pub(super) caller: Caller,
    pub(super) parts: Parts,
    pub(super) preferences: Preferences,
    pub(super) query: Parameters,
    segments: Vec<(String, String)>,
    /// The token of the share by which the client names the operation.
    share: Option<String>,
}

/// The caller, if it may take the action. Only this function determines the caller of an HTTP request.
pub(super) fn caller(parts: &Parts, action: Option<Action>) -> Result<Caller, ServiceError> {
    let identity = parts.extensions.get::<Identity>().cloned().unwrap_or_default();
    identity.caller(action, parts.uri.path())
}

/// The caller of a request under a mount, if it may take the action.
pub(super) fn caller_by_mount(
    parts: &Parts,
    tenant: Option<&TenantId>,
    action: Action,
) -> Result<Caller, ServiceError> {
    let identity = parts.extensions.get::<Identity>().cloned().unwrap_or_default();
    identity.caller_by_mount(tenant, action, parts.uri.path())
}

/// The values of the path's placeholders, by the names that the route gives them.
pub(super) async fn segments(
    parts: &mut Parts,
    http: &Http,
) -> Result<Vec<(String, String)>, Problem> {
    match RawPathParams::from_request_parts(parts, http).await {
        Ok(found) => {
            Ok(found.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }
        Err(RawPathParamsRejection::MissingPathParams(_)) => Ok(Vec::new()),
        Err(_) => Err(ServiceError::invalid_field("path", "must be UTF-8").into()),
    }
}

impl Call {
    /// A call by a mount, which reads path and query itself. Use cases check what the caller may do.
    pub(super) fn by_mount(
        http: &Http,
        parts: &Parts,
        tenant: Option<&TenantId>,
    ) -> Result<Self, Problem> {
        let caller = caller_by_mount(parts, tenant, Action::Look)?;
        Self::new(http, caller, parts.clone(), Vec::new(), Parameters::default())
    }

    pub(super) fn new(
        http: &Http,
        caller: Caller,
        parts: Parts,
        segments: Vec<(String, String)>,
        query: Parameters,
    ) -> Result<Self, Problem> {
        let preferences = Preferences::parse(&parts.headers);
        Ok(Self { http: http.clone(), caller, parts, preferences, query, segments, share: None })
    }

    /// The call about the operation whose share's token is in the path, by a caller who may read that operation and
    /// nothing else, whatever other credentials the request has.
    pub(super) fn by_share(mut self) -> Result<Self, Problem> {
        let token = self.segment("token").to_owned();
        let (caller, name) = self.service().shared(&token)?;
        self.caller = caller.with_origin(self.caller.origin());
        self.segments = vec![("id".to_owned(), name.id.to_string())];
        Ok(Self { share: Some(token), ..self })
    }

    /// The use cases.
    pub(super) fn service(&self) -> &Service {
        &self.http.service
    }

    /// The types allowed in an `Any`.
    pub(super) fn types(&self) -> &KnownTypes {
        &self.http.options.types
    }

    /// URLs for the client.
    pub(super) fn links(&self) -> Links {
        let public_url = self.http.options.public_url.as_deref();
        Links::new(public_url, &self.parts).by_share(self.share.clone())
    }

    /// The value of a placeholder in the path; empty if the route has none with that name.
    pub(super) fn segment(&self, name: &str) -> &str {
        let found = self.segments.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// The operation with this id, under the path's tenant if it has one.
    fn name_of(&self, id: &str) -> Result<OperationName, ServiceError> {
        // A percent-encoded slash would change the name.
        if id.contains('/') || self.segment("tenant").contains('/') {
            let message = format!("there is nothing at {}", self.parts.uri.path());
            return Err(ServiceError::new(Reason::RouteNotFound, message));
        }
        let name = match self.segment("tenant") {
            "" => format!("operations/{id}"),
            tenant => format!("tenants/{tenant}/operations/{id}"),
        };
        decode::operation_name("name", &name)
    }

    /// The operation in the path, and the violations of path and query, which this consumes.
    pub(super) fn finish_path(&mut self) -> (Option<OperationName>, Violations) {
        let mut found = self.finish_query();
        (found.take(self.name_of(self.segment("id"))), found)
    }

    /// How long to hold the request: the query's `wait`, else the preferred time.
    pub(super) fn take_wait(&mut self) -> Option<Duration> {
        let in_query = self.query.take_duration("wait");
        if in_query.is_some() {
            // The preference is then not applied.
            self.preferences.wait = None;
        }
        in_query.or(self.preferences.wait)
    }

    /// The contents to include: `view` as BASIC, RESULT or FULL.
    pub(super) fn take_view(&mut self, default: View) -> View {
        let view = self.query.take_as("view", "must be BASIC, RESULT or FULL", |text| {
            let name = text.to_ascii_uppercase();
            let name = name.strip_prefix("OPERATION_VIEW_").unwrap_or(&name);
            let view = v1::OperationView::from_str_name(&format!("OPERATION_VIEW_{name}"))?;
            decode::view(view as i32, default).ok()
        });
        view.unwrap_or(default)
    }

    /// The violations of the query, which this consumes; the request's other violations can be added.
    pub(super) fn finish_query(&mut self) -> Violations {
        std::mem::take(&mut self.query).finish()
    }

    /// The idempotency key, if any: from the header or the body; if both have one, they must be equal.
    pub(super) fn idempotency_key(
        &self,
        in_body: &str,
    ) -> Result<Option<IdempotencyKey>, ServiceError> {
        let key = self.idempotency_key_text(in_body)?;
        let is_in_header = self.parts.headers.contains_key(&IDEMPOTENCY_KEY);
        decode::idempotency_key(
            if is_in_header { "Idempotency-Key" } else { "idempotency_key" },
            &key,
        )
    }

    /// The same as it was given; empty if there is none. Whether it is a valid key is not decided here.
    pub(super) fn idempotency_key_text(&self, in_body: &str) -> Result<String, ServiceError> {
        let in_header = idempotency_key(&self.parts.headers)?;
        if !in_header.is_empty() && !in_body.is_empty() && in_body != in_header {
            let rule = "must be the same as the body's idempotencyKey if both are given";
            return Err(ServiceError::invalid_field("Idempotency-Key", rule));
        }
        Ok(if in_header.is_empty() { in_body.to_owned() } else { in_header })
    }

    /// The media type of the body, verbatim; empty if there is none.
    pub(super) fn content_type(&self) -> Result<&str, ServiceError> {
        let refused = |rule| ServiceError::invalid_field("Content-Type", rule);
        let mut fields = self.parts.headers.get_all(CONTENT_TYPE).iter();
        let Some(field) = fields.next() else { return Ok("") };
        if fields.next().is_some() {
            return Err(refused("must be given once"));
        }
        let text = field.to_str().ok().filter(|text| text.len() <= 255 && !text.contains('\t'));
        text.ok_or_else(|| refused("must be at most 255 printable ASCII characters"))
    }

    /// The body as a JSON message; an empty body is the empty message. `None` if it breaks a rule, which is noted in
    /// `found`.
    pub(super) async fn optional_message<M>(
        &self,
        body: Body,
        found: &mut Violations,
    ) -> Result<Option<M>, Problem>
    where
        M: prost::Message + prost::Name + Default,
    {
        let document = self.document(body).await;
        let message = document.and_then(|document| {
            if document.is_empty() { Ok(M::default()) } else { self.decode(&document) }
        });
        noted(message, found)
    }

    /// Like [`Self::optional_message`], for a body that must not be empty.
    pub(super) async fn message<M>(
        &self,
        body: Body,
        found: &mut Violations,
    ) -> Result<Option<M>, Problem>
    where
        M: prost::Message + prost::Name + Default,
    {
        let message = self.document(body).await.and_then(|document| self.decode(&document));
        noted(message, found)
    }

    /// The body as a text of at most `limit` bytes. Invalid UTF-8 is replaced.
    pub(super) async fn text(
        &self,
        body: Body,
        limit: usize,
        found: &mut Violations,
    ) -> Result<Option<String>, Problem> {
        let text = self.decoded(body, limit).await;
        noted(text.map(|text| String::from_utf8_lossy(&text).into_owned()), found)
    }

    /// The decoded body, which must be a JSON object of at most `limit` bytes, and within the limits of any document.
    pub(super) async fn object(&self, body: Body, limit: usize) -> Result<Bytes, Problem> {
        self.must_be_json()?;
        let document = self.decoded(body, limit.min(self.document_limit())).await?;
        json::check_object(&document)?;
        Ok(document)
    }

    /// The decoded body, a document of this interface's own.
    async fn document(&self, body: Body) -> Result<Bytes, Problem> {
        self.decoded(body, self.document_limit()).await
    }

    fn document_limit(&self) -> usize {
        2 * self.service().limits().max_message_payload_bytes() + JSON_SLACK
    }

    async fn decoded(&self, body: Body, limit: usize) -> Result<Bytes, Problem> {
        let coding = Coding::of_document(&self.parts.headers)?;
        let body = body::read(self.service(), body, limit).await?;
        coding.undo(body, limit)
    }

    fn decode<M: prost::Message + prost::Name + Default>(&self, body: &[u8]) -> Result<M, Problem> {
        self.must_be_json()?;
        Ok(self.types().get().from_slice(body)?)
    }

    fn must_be_json(&self) -> Result<(), Problem> {
        // The type is not guessed: a page of another site can send a form or plain text without asking, but not JSON.
        let media_type = self.content_type()?;
        if !is_json(media_type) {
            let given = if media_type.is_empty() { "missing" } else { media_type };
            let message = format!("the content type must be application/json, and is {given}");
            return Err(ServiceError::new(Reason::UnsupportedMediaType, message).into());
        }
        Ok(())
    }
}

/// The body as read, unless it breaks rules for fields, which are noted.
fn noted<T>(read: Result<T, Problem>, found: &mut Violations) -> Result<Option<T>, Problem> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(problem) => problem.note_in(found).map(|()| None),
    }
}
