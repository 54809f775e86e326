//! Refuses malformed and unsafe requests before routing.
//!
//! Checks HTTP's own rules about targets and hosts, which the libraries leave to their users; and on a loopback
//! address, refuses host names that are not this server's.

use std::net::IpAddr;
use std::sync::Arc;

use axum::response::Response;
use http::header::{CACHE_CONTROL, CONNECTION, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Version};

use super::arrival::Arrival;
use super::problem::{self, Problem};
use super::{Http, HttpOptions, dialect};
use crate::service::{Reason, Service, ServiceError};

/// The longest path and query, in bytes: room for a list's filter, and for signed URLs behind relays.
const MAX_TARGET_BYTES: usize = 16 << 10;
/// All methods of this server's routes.
const METHODS: &str = "GET, HEAD, POST, DELETE, OPTIONS";

/// The hosts that a request to a loopback address may name. On other addresses, the network decides about names.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// Any.
    Any,
    /// Addresses, `localhost` and these. A browser's page on this machine can call this server under a name that its
    /// own site has pointed to 127.0.0.1 (DNS rebinding), and would count as this server's own.
    Local(Arc<[String]>),
}

impl Hosts {
    /// Names of this machine, the host of `public_url`, and those in `allowed`, where `*` means any.
    pub fn of(public_url: Option<&str>, allowed: &[String]) -> Self {
        if allowed.iter().any(|host| host == "*") {
            return Self::Any;
        }
        let public = public_url.and_then(|url| url.parse::<http::Uri>().ok());
        let public = public.and_then(|url| url.host().map(str::to_ascii_lowercase));
        Self::Local(allowed.iter().map(|host| host.to_ascii_lowercase()).chain(public).collect())
    }

    fn have(&self, host: &str) -> bool {
        let Self::Local(names) = self else { return true };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        // No name service can redirect an address.
        address.is_ok() || is_local || names.contains(&host)
    }
}

/// Checks the head of each request before it is routed.
#[derive(Clone, Debug)]
pub struct Screen {
    hosts: Hosts,
    /// For refusals under a dialect's mount, in the dialect's words.
    http: Http,
}

impl Screen {
    /// A check for the same service and options as those of [`router`](super::router).
    pub fn new(hosts: Hosts, service: Service, options: HttpOptions) -> Self {
        Self { hosts, http: Http::new(service, options) }
    }

    /// The refusal of a request; `None` if the request may go on.
    pub fn refusal(&self, parts: &Parts) -> Option<Response> {
        if parts.method == Method::OPTIONS && parts.uri.path() == "*" {
            return Some(super::options(HeaderValue::from_static(METHODS)));
        }
        let problem = check(&self.hosts, parts).err()?;
        let mut response = dialect::refused_at(&self.http, parts, problem);
        problem::render(&mut response, &parts.method, parts.uri.path());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if parts.version < Version::HTTP_2 {
            // A client that gets this wrong may have framed the rest wrongly too.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Some(response)
    }
}

/// Refuses a request that breaks a rule of HTTP, or reaches this machine by a foreign name.
pub(super) fn check(hosts: &Hosts, parts: &Parts) -> Result<(), Problem> {
    let uri = &parts.uri;
    if parts.method == Method::CONNECT {
        return Err(Problem::method_not_allowed(&parts.method, METHODS));
    }
    if uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES) {
        let message = format!("path and query must be at most {MAX_TARGET_BYTES} bytes");
        return Err(ServiceError::new(Reason::UriTooLong, message).into());
    }
    if !uri.path().starts_with('/') {
        return Err(ServiceError::invalid_field("path", "must begin with a slash").into());
    }
    if uri.scheme().is_some_and(|scheme| ![Scheme::HTTP, Scheme::HTTPS].contains(scheme)) {
        return Err(
            ServiceError::invalid_field("URL", "must begin with http:// or https://").into()
        );
    }
    let is_chunked = |field: &HeaderValue| field.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    if codings.next().is_some_and(|field| !is_chunked(field)) || codings.next().is_some() {
        return Err(ServiceError::invalid_field("Transfer-Encoding", "must be chunked").into());
    }
    let host = host(parts)?;
    let arrival = parts.extensions.get::<Arrival>();
    // Browsers use HTTP/2 only over TLS.
    let may_be_browser = |arrival: &Arrival| parts.version < Version::HTTP_2 || arrival.is_tls;
    let is_checked = arrival.is_some_and(|it| it.is_on_loopback && may_be_browser(it));
    match host.filter(|host| is_checked && !hosts.have(host.host())) {
        Some(host) => {
            let message = format!(
                "this server serves its own machine only, and {} is not one of its names \
                 (--allowed-host or --public-url adds names)",
                host.host()
            );
            Err(ServiceError::new(Reason::HostRefused, message).into())
        }
        None => Ok(()),
    }
}

/// The host of the request: at most one, and the same wherever it is named (RFC 9112, section 3.2).
fn host(parts: &Parts) -> Result<Option<Authority>, ServiceError> {
    let invalid = |rule| Err(ServiceError::invalid_field("Host", rule));
    let plain = |authority: &Authority| {
        let port = authority.as_str().strip_prefix(authority.host());
        match port.map(|port| port.strip_prefix(':').unwrap_or(port)) {
            Some("") => !authority.host().is_empty(),
            Some(_) => authority.port_u16().is_some(),
            // It begins with a user.
            None => false,
        }
    };
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(_), Some(_)) => return invalid("must be given once"),
        (None, _) if parts.version == Version::HTTP_11 => return invalid("must be given"),
        (None, _) => None,
        (Some(field), None) => match Authority::try_from(field.as_bytes()) {
            Ok(authority) if plain(&authority) => Some(authority),
            _ => return invalid("must be a host, with a port or without"),
        },
    };
    match (parts.uri.authority(), field) {
        (Some(target), _) if !plain(target) => invalid("must be a host, with a port or without"),
        (Some(target), Some(field)) if field != *target => {
            invalid("must be the host of the request's target")
        }
        (Some(target), _) => Ok(Some(target.clone())),
        (None, field) => Ok(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_for_its_own_machine_goes_by_addresses_and_known_names() {
        let hosts = Hosts::of(Some("https://Jobs.example.com:8443/x"), &["Lro.Test".to_owned()]);
        for known in
            ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "[::1]", "10.0.0.7", "lro.test"]
        {
            assert!(hosts.have(known), "{known}");
        }
        assert!(hosts.have("jobs.example.com"));
        for unknown in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert!(!hosts.have(unknown), "{unknown}");
        }
        assert!(Hosts::of(None, &["*".to_owned()]).have("evil.example"));
    }
}
