//! Authentication: finds the caller of each request, once, in front of every interface.
//!
//! The service decides what a caller may do; this module only identifies it. The ways to do so are tried in order;
//! the first that recognizes a request's credentials decides.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use tonic::transport::server::TcpConnectInfo;

use crate::operation::secret::Secret;
use crate::operation::{Owner, Role, TraceContext};
use crate::service::keys::PREFIX;
use crate::service::{Caller, Identity, InProcess, Origin, Reason, ServiceError};

mod certificates;
pub mod jwt;
mod key_file;
mod keys;
mod peer;

pub use certificates::ByCertificate;
pub use key_file::{KeyFile, KeyFileError, is_private};
pub use keys::ByKey;
pub use peer::{PeerCertificate, UnreadableCertificate};

/// Credentials for this server, if `authorization` is for the API behind it. Takes precedence; never passed on.
const OWN_FIELD: HeaderName = HeaderName::from_static("longrun-authorization");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest recorded name of a request, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// A way to identify callers.
#[async_trait]
pub trait Way: Send + Sync + 'static {
    /// The caller, if the request has credentials of this kind; an error if they are invalid; `None` if it has none.
    async fn identify(&self, given: Given<'_>) -> Option<Result<Caller, ServiceError>>;
}

/// A request's credentials. They are secret, so there is no `Debug`.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The bearer token.
    pub token: Option<&'a str>,
    /// The request without its body: its extensions describe the connection.
    pub parts: &'a Parts,
}

#[async_trait]
impl Way for jwt::Tokens {
    async fn identify(&self, given: Given<'_>) -> Option<Result<Caller, ServiceError>> {
        let token = given.token.filter(|token| Self::is_one(token))?;
        Some(self.caller(token).await)
    }
}

/// Finds the caller of a request. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    /// Tried in this order; empty if callers need no credentials.
    ways: Arc<[Box<dyn Way>]>,
    is_required: bool,
    /// The secret of owners' digests, if operations belong to the subjects that submit them.
    private: Option<Secret>,
}

impl Authenticator {
    /// Accepts every request, as from the anonymous caller.
    pub fn open() -> Self {
        Self { ways: Arc::new([]), is_required: false, private: None }
    }

    /// Accepts requests with credentials that one of these ways recognizes, tried in this order.
    pub fn by(ways: Vec<Box<dyn Way>>) -> Self {
        Self { ways: ways.into(), is_required: true, private: None }
    }

    /// Makes callers the owners of what they submit: only they and admins see it. A caller without a subject may not
    /// submit.
    #[must_use]
    pub fn privately(self, secret: Secret) -> Self {
        Self { private: Some(secret), ..self }
    }

    /// The caller as an owner, if operations have owners.
    fn owning(&self, caller: Caller) -> Caller {
        let Some(secret) = &self.private else { return caller };
        let is_admin = caller.roles().has(Role::Admin);
        let owner = |subject| {
            let owner = Owner::of_subject(secret, &caller.tenant, subject);
            if is_admin { owner.seeing_all() } else { owner }
        };
        match caller.subject() {
            Some(subject) => {
                let owner = owner(subject);
                caller.with_owner(owner)
            }
            // The empty subject owns nothing, because such a caller may not submit.
            None if is_admin => {
                let owner = owner("");
                caller.with_owner(owner).lacking_subject()
            }
            None => caller.lacking_subject(),
        }
    }

    /// The caller of a request, if it can be found without waiting.
    pub fn identify_at_once(&self, parts: &Parts) -> Option<Identity> {
        let caller = match parts.extensions.get::<InProcess>() {
            Some(_) => Caller::in_process(),
            None if !self.is_required => Caller::anonymous(),
            None => return None,
        };
        Some(Identity::of(Ok(caller), origin(parts), false))
    }

    /// The caller of a request.
    pub async fn identify(&self, parts: &Parts) -> Identity {
        if let Some(identity) = self.identify_at_once(parts) {
            return identity;
        }
        let origin = origin(parts);
        let (token, is_own) = match token(&parts.headers) {
            Ok(found) => found,
            Err(error) => return Identity::of(Err(error), origin, true),
        };
        for way in self.ways.iter() {
            if let Some(caller) = way.identify(Given { token, parts }).await {
                let is_key = token.is_some_and(|token| token.starts_with(PREFIX));
                let caller = caller.map(|caller| self.owning(caller));
                return Identity::of(caller, origin, is_own || is_key);
            }
        }
        let message = if is_own {
            "this server does not accept these credentials"
        } else if token.is_some() {
            "the token of `authorization` is not one of this server: an API key begins with `lr_`"
        } else {
            "the request has no credentials for this server: send `authorization: Bearer KEY`"
        };
        let error = ServiceError::new(Reason::Unauthenticated, message);
        Identity::of(Err(error), origin, is_own)
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("is_required", &self.is_required).finish()
    }
}

/// The bearer token, and whether it was in this server's own field.
fn token(headers: &HeaderMap) -> Result<(Option<&str>, bool), ServiceError> {
    let refused = |field: &HeaderName, rule: &str| {
        let message = format!("{field} must be {rule}");
        Err(ServiceError::new(Reason::Unauthenticated, message))
    };
    for (field, is_own) in [(OWN_FIELD, true), (AUTHORIZATION, false)] {
        let mut values = headers.get_all(&field).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            // One of them could be another caller's.
            return refused(&field, "given once");
        }
        match bearer(value.to_str().unwrap_or_default()) {
            Some(token) => return Ok((Some(token), is_own)),
            None if is_own => return refused(&field, "`Bearer TOKEN`"),
            // Another scheme, for the API behind a mount.
            None => {}
        }
    }
    Ok((None, false))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The client's name for a request, if there is one.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    id.filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()))
}

fn origin(parts: &Parts) -> Origin {
    let peer = parts.extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let id = request_id(&parts.headers);
    let field = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let trace = field("traceparent")
        .and_then(|parent| TraceContext::parse(parent, field("tracestate").unwrap_or_default()));
    Origin { address: peer, request_id: id.map(Arc::from), trace }
}

/// Marks a request with its caller, and removes the credentials.
pub fn mark(parts: &mut Parts, identity: Identity) {
    parts.extensions.insert(identity);
    strip(&mut parts.headers);
}

/// Removes credentials, so that they are neither passed on to an API behind a mount nor stored.
fn strip(headers: &mut HeaderMap) {
    headers.remove(OWN_FIELD);
    let is_key = |value: &http::HeaderValue| {
        let token = value.to_str().ok().and_then(bearer);
        token.is_some_and(|token| token.starts_with(PREFIX))
    };
    if headers.get_all(AUTHORIZATION).iter().any(is_key) {
        headers.remove(AUTHORIZATION);
    }
}

/// Adds a layer in front of a router that finds the caller of each request.
pub fn in_front_of(router: axum::Router, authenticator: Authenticator) -> axum::Router {
    router.layer(axum::middleware::from_fn_with_state(authenticator, identify))
}

/// Marks the request with its caller, and removes the credentials.
async fn identify(
    State(authenticator): State<Authenticator>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let identity = authenticator.identify(&parts).await;
    mark(&mut parts, identity);
    next.run(Request::from_parts(parts, body)).await
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn the_servers_own_field_wins_and_keys_go_no_further() {
        let both = [("longrun-authorization", "bearer one"), ("authorization", "Bearer two")];
        assert_eq!(token(&headers(&both)).unwrap(), (Some("one"), true));
        assert_eq!(token(&headers(&both[1..])).unwrap(), (Some("two"), false));
        let basic = ("authorization", "Basic YTpi");
        assert_eq!(token(&headers(&[basic])).unwrap(), (None, false));
        assert!(token(&headers(&[("longrun-authorization", "one")])).is_err());
        assert!(token(&headers(&[("authorization", "Bearer a"), basic])).is_err());
        let mut given = headers(&[("longrun-authorization", "Bearer x"), basic]);
        strip(&mut given);
        assert_eq!(given, headers(&[basic]));
        let mut given = headers(&[("authorization", "Bearer lr_x")]);
        strip(&mut given);
        assert!(given.is_empty());
    }

    proptest! {
        #[test]
        fn any_credentials_are_read_or_refused_and_no_key_goes_further(
            values in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "(Bearer|bearer|BEARER|Basic)  ?(lr_)?.{0,20}".prop_map(String::into_bytes),
            ], 0..3),
            is_own in any::<bool>(),
        ) {
            let field = if is_own { OWN_FIELD } else { AUTHORIZATION };
            let mut given = HeaderMap::new();
            for value in values.into_iter().filter_map(|value| HeaderValue::try_from(value).ok()) {
                given.append(field.clone(), value);
            }
            let is_key = token(&given).is_ok_and(|(token, _)| token.is_some_and(|it| it.starts_with(PREFIX)));
            strip(&mut given);
            prop_assert!(!given.contains_key(OWN_FIELD));
            prop_assert!(!is_key || given.is_empty());
        }
    }
}
