//! Absolute URLs of this interface.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use super::arrival::Arrival;
use crate::operation::OperationId;

/// Where the client reached this server, and so where its links must lead.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    base: String,
    /// The token of the share by which the client names the operation.
    share: Option<String>,
}

impl Links {
    /// The base is the configured public URL; else the scheme of the connection and the host of the request. Without
    /// either, links are absolute paths, which clients resolve against the requested URL. Forwarding headers are not
    /// trusted, because any client can send them.
    pub(crate) fn new(public_url: Option<&str>, request: &Parts) -> Self {
        if let Some(url) = public_url {
            return Self { base: url.trim_end_matches('/').to_owned(), share: None };
        }
        let host = || request.headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
        let authority = request.uri.authority().cloned().or_else(host);
        let scheme = Arrival::scheme(&request.extensions);
        let base = authority
            .filter(|authority| !authority.as_str().contains('@'))
            .map_or_else(String::new, |authority| format!("{scheme}://{authority}"));
        Self { base, share: None }
    }

    /// Links for a client that names an operation by a share.
    pub(super) fn by_share(self, token: Option<String>) -> Self {
        Self { share: token, ..self }
    }

    /// Whether the client names the operation by a share.
    pub(super) fn are_of_share(&self) -> bool {
        self.share.is_some()
    }

    /// Scheme, host, and the path prefix of this server.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The operation.
    pub(super) fn operation(&self, id: OperationId) -> String {
        match &self.share {
            Some(token) => self.share(token),
            None => format!("{}/v1/operations/{id}", self.base),
        }
    }

    /// An operation for the holder of this share token.
    pub(super) fn share(&self, token: &str) -> String {
        format!("{}/v1/shares/{token}", self.base)
    }

    /// An attempt, by its token.
    pub(super) fn attempt(&self, token: &str) -> String {
        format!("{}/v1/attempts/{token}", self.base)
    }

    /// An operation's status document.
    pub(super) fn status(&self, id: OperationId) -> String {
        self.operation(id) + "/status"
    }

    /// Its result.
    pub(super) fn result(&self, id: OperationId) -> String {
        self.operation(id) + "/result"
    }

    /// Its history.
    pub(super) fn events(&self, id: OperationId) -> String {
        self.operation(id) + "/events"
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn operation(public_url: Option<&str>, uri: &str, host: Option<&[u8]>) -> String {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let url = Links::new(public_url, &parts).operation(OperationId::from_bytes([0; 16]));
        url.strip_suffix("/v1/operations/00000000-0000-0000-0000-000000000000").unwrap().to_owned()
    }

    #[test]
    fn the_base_is_the_public_url_then_the_authority_then_the_host() {
        let cases: [(_, _, Option<&[u8]>, _); 8] = [
            (Some("https://lro.example/x/"), "/", Some(b"h"), "https://lro.example/x"),
            (None, "/", Some(b"localhost:8080"), "http://localhost:8080"),
            (None, "/", Some(b"[::1]:80"), "http://[::1]:80"),
            (None, "http://authority:1/", Some(b"host:2"), "http://authority:1"),
            (None, "/", None, ""),
            (None, "/", Some(b"evil/path?"), ""),
            (None, "/", Some(b"user@host"), ""),
            (None, "/", Some(b"h\xff"), ""),
        ];
        for (public_url, uri, host, base) in cases {
            assert_eq!(operation(public_url, uri, host), base, "{public_url:?} {uri} {host:?}");
        }
    }
}
