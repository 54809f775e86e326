//! JSON Web Tokens (RFC 7519), verified with their issuer's keys (checks of RFC 8725).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::tokens::TokenConfig;
use crate::engine::Clock;
use crate::service::{Caller, Reason, ServiceError};

mod claims;
mod keys;
mod ring;
mod source;

use keys::KeySet;
pub use source::KeyReader;
use source::Keys;

/// The longest token, in bytes: the maximum that header fields can hold.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// The maximum number of verified tokens that are remembered.
const REMEMBERED: usize = 10_000;
/// How long a token with an unknown key waits for the keys to be read again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Identifies callers by their tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: TokenConfig,
    keys: Keys,
    clock: Arc<dyn Clock>,
    /// Verified tokens by their digests, with the set of keys that verified them.
    verified: Mutex<LruCache<[u8; 32], Verified>>,
}

#[derive(Clone, Debug)]
struct Verified {
    caller: Caller,
    good: Span,
    by: Arc<KeySet>,
}

/// When a token is valid, in seconds of Unix time.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    until: i64,
}

impl Tokens {
    /// Accepts tokens as `config` says, and reads the keys once; `None` without configured keys. Run the reader.
    pub async fn open(
        config: &TokenConfig,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Option<(Self, KeyReader)>> {
        let Some(source) = config.keys.clone() else { return Ok(None) };
        ring::install();
        let (mut reader, keys) = KeyReader::new(config, source)?;
        reader.begin().await?;
        let verified = Mutex::new(LruCache::new(REMEMBERED));
        let inner = Inner { config: config.clone(), keys, clock, verified };
        Ok(Some((Self(Arc::new(inner)), reader)))
    }

    /// Whether a credential has the form of a token.
    pub fn is_one(credential: &str) -> bool {
        credential.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The caller of a token that was verified before.
    pub fn known(&self, token: &str) -> Option<Result<Caller, ServiceError>> {
        let Inner { keys, clock, verified, config } = &*self.0;
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = verified.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let current = keys.latest.borrow();
        let known = known.filter(|known| {
            current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &known.by))
        })?;
        let now = clock.now().to_unix().0;
        Some(known.good.check(now, config.skew).map(|()| known.caller))
    }

    /// The caller of the token.
    pub async fn caller(&self, token: &str) -> Result<Caller, ServiceError> {
        if let Some(known) = self.known(token) {
            return known;
        }
        let Inner { keys, clock, verified, .. } = &*self.0;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused("it is too long"));
        }
        let now = clock.now().to_unix().0;
        let latest = || keys.latest.borrow().clone();
        let verify = |set: Option<Arc<KeySet>>| match set {
            Some(set) => self.0.verify(token, &set, now).map(|found| (found, set)),
            None => Err(Refusal::NoKeys),
        };
        let mut found = verify(latest());
        if matches!(found, Err(Refusal::NoKeys | Refusal::UnknownKey)) {
            keys.read_again(PATIENCE).await;
            found = verify(latest());
        }
        let ((caller, good), by) = found?;
        let known = Verified { caller: caller.clone(), good, by };
        let digest: [u8; 32] = Sha256::digest(token).into();
        verified.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, known);
        Ok(caller)
    }
}

/// Why a token is refused.
enum Refusal {
    /// No set of keys has been read.
    NoKeys,
    /// The set has no such key.
    UnknownKey,
    /// A check failed; the reason.
    Bad(&'static str),
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoKeys => Self {
                retry_after: Some(Duration::from_secs(10)),
                ..Self::new(
                    Reason::Unavailable,
                    "tokens cannot be verified: their issuer's keys are not known yet",
                )
            },
            Refusal::UnknownKey => refused("its issuer has no key that signed it"),
            Refusal::Bad(why) => refused(why),
        }
    }
}

fn refused(why: &str) -> ServiceError {
    ServiceError::new(Reason::Unauthenticated, format!("the token is not valid: {why}"))
}

impl Inner {
    fn verify(&self, token: &str, keys: &KeySet, now: i64) -> Result<(Caller, Span), Refusal> {
        let header = decode_header(token).map_err(|_| {
            Refusal::Bad("it cannot be decoded, or is signed by an unknown algorithm")
        })?;
        if !self.config.allowed().contains(&header.alg) {
            return Err(Refusal::Bad(
                "it is signed by an algorithm that this server does not accept",
            ));
        }
        // The token requires extensions that are unknown here (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(Refusal::Bad(
                "its header requires an extension that this server does not support",
            ));
        }
        let mut candidates = keys.of(header.kid.as_deref(), header.alg).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::UnknownKey);
        }
        let mut why = "it cannot be verified";
        for key in candidates {
            match decode::<Map<String, Value>>(token, &key.key, &self.validation(header.alg)) {
                Ok(token) => {
                    let good = Span::of(&token.claims).map_err(Refusal::Bad)?;
                    good.check(now, self.config.skew).map_err(|_| Refusal::Bad(good.flaw(now)))?;
                    let caller = claims::caller(&token.claims, &self.config);
                    return Ok((caller.map_err(Refusal::Bad)?, good));
                }
                Err(error) => why = said(error.kind()),
            }
        }
        Err(Refusal::Bad(why))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["iss", "aud"]);
        validation.iss =
            self.config.issuer.iter().cloned().collect::<std::collections::HashSet<_>>().into();
        validation.aud =
            self.config.audience.iter().cloned().collect::<std::collections::HashSet<_>>().into();
        // Times are compared below, by the server's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

fn said(error: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as Kind;
    match error {
        Kind::InvalidIssuer => "it is by another issuer",
        Kind::InvalidAudience => "it was made for another audience",
        Kind::MissingRequiredClaim(_) => "it has no issuer or no audience",
        Kind::InvalidSignature => "its signature is wrong",
        _ => "it cannot be verified",
    }
}

impl Span {
    fn of(claims: &Map<String, Value>) -> Result<Self, &'static str> {
        let seconds = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Ok(Some(whole)),
                // The cast is clamped to the range of `i64`.
                (None, Some(number)) if number.is_finite() => Ok(Some(number as i64)),
                _ => Err("its times are not numbers"),
            },
            Some(_) => Err("its times are not numbers"),
        };
        let until = seconds("exp")?.ok_or("it has no expiry")?;
        Ok(Self { from: seconds("nbf")?.unwrap_or(i64::MIN), until })
    }

    fn check(self, now: i64, skew: Duration) -> Result<(), ServiceError> {
        let skew = i64::try_from(skew.as_secs()).unwrap_or(i64::MAX);
        let is_good =
            now < self.until.saturating_add(skew) && now >= self.from.saturating_sub(skew);
        if is_good { Ok(()) } else { Err(refused(self.flaw(now))) }
    }

    fn flaw(self, now: i64) -> &'static str {
        if now < self.from { "it is not valid yet" } else { "it has expired" }
    }
}

#[cfg(test)]
mod tests;
