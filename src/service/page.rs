//! Page sizes and page tokens (AIP-158). Tokens are opaque, carry a position and what it is a position in,
//! and authorise nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::ServiceError;

/// The page size to use: `default` for 0, at most `maximum`; negative is refused.
pub fn size(given: i32, default: usize, maximum: usize) -> Result<usize, ServiceError> {
    match usize::try_from(given) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(maximum)),
        Err(_) => Err(ServiceError::invalid_field("page_size", "must not be negative")),
    }
}

/// A token for `position` in the list that `query` describes.
pub fn token(query: &[&str], position: [u8; 24]) -> String {
    let mut bytes = fingerprint(query).to_vec();
    bytes.extend(position);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position in a token, which must be of the same `query`; `None` for the first page.
pub fn position(query: &[&str], token: &str) -> Result<Option<[u8; 24]>, ServiceError> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid = |rule| ServiceError::invalid_field("page_token", rule);
    let bytes = URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| invalid("must be the next_page_token of a page before"))?;
    let (query_part, position) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| invalid("must be the next_page_token of a page before"))?;
    if *query_part != fingerprint(query) {
        return Err(invalid("must be used with the other fields as they were on the page before"));
    }
    let position = position.try_into();
    position.map(Some).map_err(|_| invalid("must be the next_page_token of a page before"))
}

fn fingerprint(query: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in query {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    short
}
