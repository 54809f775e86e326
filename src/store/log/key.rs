//! Texts that only a server over this store can issue: bytes signed with the store's own key.
//!
//! The first signed byte is the text's type, so that a text cannot be used as one of another type.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The length of the signature in a text.
const SIGNATURE_BYTES: usize = 12;
/// The longest text, in bytes: that of a position with some hundred writers.
const MAX_TEXT: usize = 8 * 1024;

/// The store's own signing key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigningKey(pub [u8; 32]);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Signs bytes, the first of which is `sort`; returns both as a text of letters, digits, `-` and `_`.
    pub fn sign(&self, sort: u8, bytes: &[u8]) -> String {
        let mut signed = Vec::with_capacity(1 + bytes.len() + SIGNATURE_BYTES);
        signed.push(sort);
        signed.extend_from_slice(bytes);
        let signature = self.mac(&signed).finalize().into_bytes();
        signed.extend(signature.into_iter().take(SIGNATURE_BYTES));
        BASE64_URL_SAFE_NO_PAD.encode(signed)
    }

    /// The bytes of a text that was signed with this key and `sort`; `None` for any other text.
    pub fn verify(&self, sort: u8, text: &str) -> Option<Vec<u8>> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, signed) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE_BYTES)?)?;
        self.mac(body).verify_truncated_left(signed).ok()?;
        body.strip_prefix(&[sort]).map(<[u8]>::to_vec)
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        // A key shorter than a block is padded with zeros (RFC 2104).
        let mut block = [0; 64];
        let (used, _) = block.split_at_mut(self.0.len());
        used.copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(bytes);
        mac
    }
}
