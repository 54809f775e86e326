//! The server's own secret, without which stored digests of credentials are useless.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// A secret that all replicas of a store share. Each purpose has its own codes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The minimum number of bytes of a secret.
    pub const LEAST_BYTES: usize = 32;

    /// The secret made from these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The code of these parts (HMAC-SHA-256).
    pub fn code(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(purpose, parts).finalize().into_bytes().into()
    }

    /// Whether `code` is their code, or its beginning. Takes the same time whatever the result is.
    pub fn is_code(&self, code: &[u8], purpose: &str, parts: &[&[u8]]) -> bool {
        self.mac(purpose, parts).verify_truncated_left(code).is_ok()
    }

    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        // A key shorter than a block is padded with zeros (RFC 2104).
        let mut block = [0; 64];
        let (used, _) = block.split_at_mut(self.0.len());
        used.copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_of_one_secret_one_purpose_and_these_parts() {
        let secret = Secret::of(b"one");
        let code = secret.code("keys", &[b"ab", b"c"]);
        assert!(secret.is_code(&code, "keys", &[b"ab", b"c"]));
        assert!(secret.is_code(&code[..16], "keys", &[b"ab", b"c"]));
        for (other, purpose, parts) in [
            (Secret::of(b"two"), "keys", [&b"ab"[..], b"c"]),
            (secret.clone(), "owners", [b"ab", b"c"]),
            (secret.clone(), "keys", [b"a", b"bc"]),
        ] {
            assert!(!other.is_code(&code, purpose, &parts));
        }
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
