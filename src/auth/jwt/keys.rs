//! Sets of keys (JSON Web Key Set, RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The maximum number of keys in a set; further ones are ignored.
const MAX_KEYS: usize = 100;
/// The shortest secret of a symmetric key, in bytes (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A set of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

/// A key, with the algorithms for which it is used.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

impl KeySet {
    /// The keys of a document for one of these algorithms. Unusable keys are ignored, as the RFC requires (section 5);
    /// symmetric keys are used only if they are `local`, in a file.
    pub(super) fn parse(
        document: &[u8],
        allowed: &[Algorithm],
        local: bool,
    ) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(document).map_err(|error| {
            format!("it is not JSON (line {}, column {})", error.line(), error.column())
        })?;
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| "it has no list named keys".to_owned())?;
        let usable = keys.iter().take(MAX_KEYS).filter_map(|key| {
            let key: Jwk = serde_json::from_value(key.clone()).ok()?;
            Key::of(&key, allowed, local)
        });
        let usable: Vec<Key> = usable.collect();
        if usable.is_empty() {
            return Err("none of its keys can verify tokens by an allowed algorithm".to_owned());
        }
        Ok(Self(usable))
    }

    /// The keys that may have signed a token: those with its key id, or all if it names none.
    pub(super) fn of<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| {
            (id.is_none() || key.id.as_deref() == id) && key.algorithms.contains(&algorithm)
        })
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    fn of(jwk: &Jwk, allowed: &[Algorithm], local: bool) -> Option<Self> {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let by_type: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[ES256],
                EllipticCurve::P384 => &[ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                &[EdDSA]
            }
            AlgorithmParameters::OctetKey(_) if local => &[HS256, HS384, HS512],
            _ => return None,
        };
        // A key that names its algorithm is used for no other.
        let named = jwk.common.key_algorithm.map(|named| named.to_string());
        let is_named = |algorithm: &Algorithm| {
            named.as_ref().is_none_or(|named| *named == format!("{algorithm:?}"))
        };
        let algorithms = by_type.iter().filter(|it| allowed.contains(it) && is_named(it));
        let algorithms: Vec<Algorithm> = algorithms.copied().collect();
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let is_short = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_))
            && key.try_get_as_bytes().is_ok_and(|secret| secret.len() < MIN_SECRET_BYTES);
        if algorithms.is_empty() || is_short {
            return None;
        }
        Some(Self { id: jwk.common.key_id.clone(), key, algorithms })
    }
}
