//! Page sizes and page tokens (AIP-158). Tokens are opaque, contain a position and its list, and grant no permission.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::Violations;

/// The maximum number of entries on a page.
const MAX_PAGE: usize = 1_000;

/// A requested page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest {
    /// The maximum number of entries.
    pub limit: usize,
    /// The position after which the page begins; `None`: the first page.
    pub after: Option<[u8; 24]>,
    list: [u8; 8],
}

impl PageRequest {
    /// A page of the list that `query` describes: `default` entries if `size` is 0, at most [`MAX_PAGE`].
    pub(super) fn read(
        query: &[&str],
        (size, default): (i32, usize),
        token: &str,
        found: &mut Violations,
    ) -> Option<Self> {
        let limit = match usize::try_from(size) {
            Ok(0) => Some(default),
            Ok(size) => Some(size.min(MAX_PAGE)),
            Err(_) => {
                found.note("page_size", "must not be negative");
                None
            }
        };
        let list = fingerprint(query);
        let after = position(list, token).map_err(|rule| found.note("page_token", rule)).ok();
        Some(Self { limit: limit?, after: after?, list })
    }

    /// The largest page after this position.
    pub(super) const fn behind(position: [u8; 24]) -> Self {
        Self { limit: MAX_PAGE, after: Some(position), list: [0; 8] }
    }

    /// The token of the page after `position`.
    pub(super) fn token(&self, position: [u8; 24]) -> String {
        let mut bytes = self.list.to_vec();
        bytes.extend(position);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The position in a token, which must be of the same list; `None`: the first page.
fn position(list: [u8; 8], token: &str) -> Result<Option<[u8; 24]>, &'static str> {
    const MALFORMED: &str = "must be the next_page_token of an earlier page";
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| MALFORMED)?;
    let (of_list, position) = bytes.split_first_chunk::<8>().ok_or(MALFORMED)?;
    if *of_list != list {
        return Err("must be used with the same other fields as the earlier page");
    }
    position.try_into().map(Some).map_err(|_| MALFORMED)
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
