//! How a request reached this server: listener and TLS.

use http::Extensions;

/// How a request reached this server: an extension of every request, set by the listener. Without it, the request came
/// over plain HTTP and not from a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whether TLS on the connection ends in this process.
    pub is_tls: bool,
    /// Whether the listener has a loopback address.
    pub is_on_loopback: bool,
}

impl Arrival {
    /// Whether the request's connection uses TLS.
    pub(super) fn is_tls(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some_and(|arrival| arrival.is_tls)
    }

    /// The scheme of URLs that lead to where the request was sent.
    pub(super) fn scheme(extensions: &Extensions) -> &'static str {
        if Self::is_tls(extensions) { "https" } else { "http" }
    }
}
