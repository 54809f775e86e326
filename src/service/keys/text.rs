//! The text of an API key: `lr_ID_SECRET`, where the id is public, and the secret ends with a checksum. Tokens of
//! shares have the same form with a prefix of their own.
//!
//! Lower-case letters and digits only: a key needs no escape in a URL or a shell, and a double click selects all of it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The prefix of every key.
pub const PREFIX: &str = "lr_";
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 5;
/// RFC 4648, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A parsed key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    prefix: &'static str,
    id: String,
    secret: [u8; SECRET_BYTES],
}

impl KeyText {
    /// Generates a key. Fails if the system has no random bytes.
    pub fn generate() -> Result<Self, String> {
        Self::generate_as(PREFIX)
    }

    /// Like [`Self::generate`], with another prefix.
    pub(in crate::service) fn generate_as(prefix: &'static str) -> Result<Self, String> {
        let random = random::<{ ID_BYTES + SECRET_BYTES }>()?;
        let (id, secret) = random.split_at(ID_BYTES);
        let mut key = Self { prefix, id: base32(id), secret: [0; SECRET_BYTES] };
        key.secret.copy_from_slice(secret);
        Ok(key)
    }

    /// Parses a text; `None` if it is not a key, or has a typing error.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_as(PREFIX, text)
    }

    /// Like [`Self::parse`], with another prefix.
    pub(in crate::service) fn parse_as(prefix: &'static str, text: &str) -> Option<Self> {
        let (id, rest) = text.strip_prefix(prefix)?.split_once('_')?;
        if !is_id(id) || rest.len() != 60 || !rest.is_ascii() {
            return None;
        }
        let (secret, checksum) = rest.split_at(52);
        let secret = unbase32(secret)?.try_into().ok()?;
        let key = Self { prefix, id: id.to_owned(), secret };
        (key.checksum() == checksum && key.text() == text).then_some(key)
    }

    /// A key with the same id and a different end of the secret.
    #[cfg(test)]
    pub(super) fn with_other_end(&self) -> Self {
        let mut other = self.clone();
        other.secret[SECRET_BYTES - 1] ^= 1;
        other
    }

    /// The public part, by which the key is looked up.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SHA-256 of the whole text. The secret has 256 random bits, so it cannot be guessed.
    pub(in crate::service) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text().as_bytes()).into()
    }

    /// The whole key.
    pub fn text(&self) -> String {
        format!("{}{}_{}{}", self.prefix, self.id, base32(&self.secret), self.checksum())
    }

    /// The key's entry in a key file: `ID:DIGEST`, the SHA-256 in hexadecimal digits.
    pub fn hash(&self) -> String {
        self.digest().iter().fold(format!("{}:", self.id), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.id.as_bytes());
        hash.update(self.secret);
        let digest: [u8; 32] = hash.finalize().into();
        base32(&digest[..CHECKSUM_BYTES])
    }
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.prefix, self.id)
    }
}

/// Unpredictable bytes. Fails if the system has none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| "there are no random bytes".to_owned())?;
    Ok(bytes)
}

/// Whether the text can be the id of a key.
pub fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| ALPHABET.contains(&byte))
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        (bits, count) = (bits << 8 | u32::from(*byte), count + 8);
        while count >= 5 {
            count -= 5;
            text.push(letter(bits >> count));
        }
    }
    if count > 0 {
        text.push(letter(bits << (5 - count)));
    }
    text
}

fn letter(bits: u32) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        (bits, count) = (bits << 5 | value as u32, count + 5);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_no_other() {
        for _ in 0..100 {
            let key = KeyText::generate().unwrap();
            let text = key.text();
            assert_eq!(text.len(), 80);
            assert_eq!(KeyText::parse(&text), Some(key.clone()));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            assert!(!format!("{key:?}").contains(&text[20..]));
            let at = fastrand::usize(..text.len());
            let mut mistyped = text.clone().into_bytes();
            mistyped[at] = if mistyped[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(KeyText::parse(&String::from_utf8(mistyped).unwrap()), None, "{at}");
            for wrong in [&text[1..], &text[..text.len() - 1], &text.to_uppercase(), "lr__", "lr_"]
            {
                assert_eq!(KeyText::parse(wrong), None, "{wrong}");
            }
        }
    }
}
