//! Who is calling: finds the caller of each request, once, in front of every interface.
//!
//! What a caller may do is the service's affair; here is only who it is.

use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

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

    /// Marks a request with its caller; or says how to find the caller, where that takes time.
    pub fn identify(&self, parts: &mut Parts) -> Option<BoxFuture<'static, Identity>> {
        let found = match parts.extensions.get::<InProcess>() {
            Some(_) => Found::Now(Ok(Caller::anonymous())),
            None => self.find(&parts.headers),
        };
        parts.headers.remove(OWN_AUTHORIZATION);
        match found {
            Found::Now(caller) => {
                parts.extensions.insert(Identity(caller));
                None
            }
            Found::Later(caller) => Some(caller),
        }
    }

    fn find(&self, headers: &HeaderMap) -> Found {
        if !self.asks() {
            return Found::Now(Ok(Caller::anonymous()));
        }
        let credential = match credential(headers) {
            Ok(credential) => credential,
            Err(error) => return Found::Now(Err(error)),
        };
        let Some(tokens) = self.tokens.as_ref().filter(|_| Tokens::is_one(credential)) else {
            let why = "the credentials are of no kind that is taken here";
            return Found::Now(Err(unauthenticated(why)));
        };
        match tokens.known(credential) {
            Some(caller) => Found::Now(caller),
            None => {
                let (tokens, credential) = (tokens.clone(), credential.to_owned());
                Found::Later(Box::pin(async move { Identity(tokens.caller(&credential).await) }))
            }
        }
    }
}

/// A caller, or the way to it.
enum Found {
    Now(Result<Caller, ServiceError>),
    Later(BoxFuture<'static, Identity>),
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
