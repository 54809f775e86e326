//! Who is calling: finds the caller of each request, once, in front of every interface.
//!
//! What a caller may do is the service's affair; here is only who it is.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

use crate::service::{Caller, Identity, InProcess, Reason, ServiceError};

pub mod jwt;

use jwt::Tokens;

/// Credentials for this server, where `Authorization` has those for the API behind a relay. It wins, and goes no further.
const OWN_AUTHORIZATION: HeaderName = HeaderName::from_static("longrun-authorization");

/// Knows whom to let in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Authenticator {
    tokens: Option<Tokens>,
}

impl Authenticator {
    /// Lets in whoever has a good token; everybody where there are none.
    pub fn new(tokens: Option<Tokens>) -> Self {
        Self { tokens }
    }

    /// Whether callers are asked for credentials.
    fn asks(&self) -> bool {
        self.tokens.is_some()
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<Caller, ServiceError> {
        if !self.asks() {
            return Ok(Caller::anonymous());
        }
        let credential = credential(headers)?;
        match &self.tokens {
            Some(tokens) if Tokens::is_one(credential) => tokens.caller(credential).await,
            _ => Err(unauthenticated("the credentials are of no kind that is taken here")),
        }
    }
}

/// Marks the request with its caller.
pub async fn identify(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = match request.extensions().get::<InProcess>() {
        Some(_) => Ok(Caller::in_process()),
        None => authenticator.identify(request.headers()).await,
    };
    request.headers_mut().remove(OWN_AUTHORIZATION);
    request.extensions_mut().insert(Identity(identity));
    next.run(request).await
}

/// The bearer's credential (RFC 6750, section 2.1).
fn credential(headers: &HeaderMap) -> Result<&str, ServiceError> {
    let name =
        if headers.contains_key(OWN_AUTHORIZATION) { OWN_AUTHORIZATION } else { AUTHORIZATION };
    let mut fields = headers.get_all(name).iter();
    let (field, None) = (fields.next(), fields.next()) else {
        return Err(unauthenticated("there must be credentials once"));
    };
    let field = field.ok_or_else(|| unauthenticated("there are no credentials"))?;
    let text = field.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(credential.trim())
        }
        _ => Err(unauthenticated("the credentials must be of the scheme Bearer")),
    }
}

fn unauthenticated(why: &str) -> ServiceError {
    ServiceError::new(Reason::Unauthenticated, why)
}
