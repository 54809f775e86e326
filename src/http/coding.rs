//! Content codings (RFC 9110, section 8.4) of the bodies of requests.
//!
//! The body of an input is kept unchanged, with its codings. The body of a JSON document is decoded if the coding
//! is gzip; other codings are refused.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue};

use super::problem::Problem;
use crate::service::{Reason, ServiceError};

/// The content codings of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// The coding of a document; 415 if it is unknown.
    pub(super) fn of_document(headers: &HeaderMap) -> Result<Self, Problem> {
        match &codings(headers)?[..] {
            [] => Ok(Self::Identity),
            [one] if one == "gzip" || one == "x-gzip" => Ok(Self::Gzip),
            others => {
                let message = format!(
                    "the Content-Encoding of this document must be gzip, or none, and is {}",
                    others.join(", ")
                );
                let problem =
                    Problem::from(ServiceError::new(Reason::UnsupportedMediaType, message));
                Err(problem.with_header(ACCEPT_ENCODING, HeaderValue::from_static("gzip")))
            }
        }
    }

    /// Decodes a document of at most `limit` bytes.
    pub(super) fn undo(self, body: Bytes, limit: usize) -> Result<Bytes, Problem> {
        if self == Self::Identity || body.is_empty() {
            return Ok(body);
        }
        let mut document = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = MultiGzDecoder::new(&body[..]).take(most).read_to_end(&mut document);
        read.map_err(|_| {
            ServiceError::invalid_field("body", "must be gzip, as its Content-Encoding says")
        })?;
        if document.len() > limit {
            let message = format!("the decoded body must be at most {limit} bytes");
            return Err(ServiceError::new(Reason::PayloadTooLarge, message).into());
        }
        Ok(document.into())
    }
}

/// Whether a body has any coding.
pub(super) fn is_coded(headers: &HeaderMap) -> Result<bool, ServiceError> {
    Ok(!codings(headers)?.is_empty())
}

/// The codings in order, in lower case, without `identity`, which means none.
fn codings(headers: &HeaderMap) -> Result<Vec<String>, ServiceError> {
    let rule = "must be names of content codings, such as gzip, separated by commas";
    let invalid = || ServiceError::invalid_field("Content-Encoding", rule);
    let mut codings = Vec::new();
    for field in headers.get_all(CONTENT_ENCODING) {
        let field = field.to_str().map_err(|_| invalid())?;
        for name in field.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if !name.chars().all(is_name) {
                return Err(invalid());
            }
            codings.push(name.to_ascii_lowercase());
        }
    }
    codings.retain(|name| name != "identity");
    Ok(codings)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn coding(fields: &[&'static str]) -> Result<Coding, u16> {
        let fields = fields.iter().map(|field| HeaderValue::from_static(field));
        let headers = fields.map(|field| (CONTENT_ENCODING, field)).collect();
        Coding::of_document(&headers).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn one_gzip_is_undone() {
        assert_eq!(coding(&[]), Ok(Coding::Identity));
        assert_eq!(coding(&["identity, "]), Ok(Coding::Identity));
        assert_eq!(coding(&["GZip"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["x-gzip", "identity"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["br"]), Err(415));
        assert_eq!(coding(&["gzip", "gzip"]), Err(415));
        assert_eq!(coding(&["gzip; q=1"]), Err(400));
    }

    #[test]
    fn a_document_is_no_larger_than_it_may_be() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&[b' '; 100_000]).unwrap();
        let body = Bytes::from(encoder.finish().unwrap());
        assert!(body.len() < 1_000);
        assert_eq!(Coding::Gzip.undo(body.clone(), 100_000).unwrap().len(), 100_000);
        let status = |result: Result<Bytes, Problem>| result.unwrap_err().status().as_u16();
        assert_eq!(status(Coding::Gzip.undo(body.clone(), 99_999)), 413);
        assert_eq!(status(Coding::Gzip.undo(body.slice(..50), 100_000)), 400);
        assert_eq!(Coding::Identity.undo(body.clone(), 0).unwrap(), body);
    }
}
