//! Callbacks: URLs of receivers, and which of them the server may call.
//!
//! Pure functions of text and addresses. Names are checked when a URL is given, addresses when a connection is made,
//! because only then is it known which address a name has.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// The URL of a receiver: `http://` or `https://`, a host, no credentials, no fragment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CallbackUrl(Arc<str>);

/// A refused URL, with the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RefusedUrl(pub String);

impl CallbackUrl {
    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Self, RefusedUrl> {
        let refused = |rule: &str| Err(RefusedUrl(rule.to_owned()));
        if text.len() > MAX_URL_BYTES {
            return Err(RefusedUrl(format!("must have at most {MAX_URL_BYTES} bytes")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("must be a URL of printable ASCII characters without spaces");
        }
        if text.contains('#') {
            return refused("must have no fragment");
        }
        let Ok(uri) = text.parse::<Uri>() else { return refused("must be a URL") };
        if !uri.scheme().is_some_and(|it| *it == Scheme::HTTP || *it == Scheme::HTTPS) {
            return refused("must begin with https:// or http://");
        }
        let Some(authority) = uri.authority().filter(|it| !it.host().is_empty()) else {
            return refused("must have a host");
        };
        if authority.as_str().contains('@') {
            return refused("must have no user and no password");
        }
        let after_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let is_port = match after_host.strip_prefix(':') {
            Some(_) => authority.port_u16().is_some_and(|port| port > 0),
            None => after_host.is_empty(),
        };
        if !is_port {
            return refused("must have a port from 1 to 65535, or none");
        }
        Ok(Self(text.into()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, authority, and path with query.
    pub fn parts(&self) -> Option<(Scheme, Authority, PathAndQuery)> {
        let parts = self.0.parse::<Uri>().ok()?.into_parts();
        let target = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Some((parts.scheme?, parts.authority?, target))
    }

    /// Scheme, host and port, which several URLs of a receiver share. Omits the path, which may be secret.
    pub fn origin(&self) -> String {
        match self.parts() {
            Some((scheme, authority, _)) => {
                format!("{scheme}://{}", authority.as_str().to_ascii_lowercase())
            }
            None => String::new(),
        }
    }
}

/// Omits path and query, which are often secrets.
impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackUrl({}/…)", self.origin())
    }
}

/// The allowed destinations: hosts by name, and networks of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// The allowed hosts; empty: all.
    hosts: Vec<HostRule>,
    /// Allowed addresses that are not public.
    networks: Vec<Network>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct HostRule {
    /// In lower case.
    name: String,
    /// Whether the rule is for all names below `name`, instead of `name` itself.
    is_suffix: bool,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

/// One allowed destination: `hooks.example.com` or `*.example.com`, with `:PORT` if only that port is allowed;
/// `10.0.0.0/8`, `127.0.0.1`, `::1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(AllowedKind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedKind {
    Host(HostRule),
    Network(Network),
}

impl std::str::FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule =
            || "must be a host, *.DOMAIN, an address or a network such as 10.0.0.0/8".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| rule()))?;
            let network = Network { address, bits };
            return if bits <= most {
                Ok(Self(AllowedKind::Network(network)))
            } else {
                Err(rule())
            };
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| rule())?)),
            None => (text, None),
        };
        let (name, is_suffix) = match name.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || bits.is_some() || !name.bytes().all(is_name) {
            return Err(rule());
        }
        Ok(Self(AllowedKind::Host(HostRule { name: name.to_ascii_lowercase(), is_suffix, port })))
    }
}

impl FromIterator<Allowed> for Destinations {
    fn from_iter<I: IntoIterator<Item = Allowed>>(allowed: I) -> Self {
        let mut all = Self::default();
        for Allowed(kind) in allowed {
            match kind {
                AllowedKind::Host(host) => all.hosts.push(host),
                AllowedKind::Network(network) => all.networks.push(network),
            }
        }
        all
    }
}

impl Destinations {
    /// Refuses a URL whose host is not allowed. Checks a literal address, but not the address of a name.
    pub fn check(&self, url: &CallbackUrl) -> Result<(), RefusedUrl> {
        let Some((scheme, authority, _)) = url.parts() else {
            return Err(RefusedUrl("must be a URL".to_owned()));
        };
        let host = authority.host().to_ascii_lowercase();
        let host = host.trim_end_matches('.');
        if let Some(address) = literal(host) {
            return match self.allows(address) && self.names_address(address) {
                true => Ok(()),
                false => Err(RefusedUrl(format!(
                    "must not lead to the address {address}, which this server does not send to"
                ))),
            };
        }
        let port = authority.port_u16();
        let port = port.unwrap_or(if scheme == Scheme::HTTPS { 443 } else { 80 });
        let is_known = self.hosts.iter().any(|rule| rule.is_of(host, port));
        if self.hosts.is_empty() || is_known {
            return Ok(());
        }
        let host = host.chars().take(100).collect::<String>();
        Err(RefusedUrl(format!("must not lead to {host}, which this server does not send to")))
    }

    /// Whether connections to that address are allowed, whatever name has resolved to it.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.networks.iter().any(|network| network.has(address))
    }

    /// Whether a URL may contain this address instead of a name. If hosts are listed, the address must be listed too.
    fn names_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.hosts.is_empty() || self.networks.iter().any(|network| network.has(address))
    }
}

/// The literal address in place of a host name, if it is one.
pub fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

impl HostRule {
    fn is_of(&self, host: &str, port: u16) -> bool {
        let is_name = match self.is_suffix {
            false => host == self.name,
            true => host.strip_suffix(self.name.as_str()).is_some_and(|it| it.ends_with('.')),
        };
        is_name && self.port.is_none_or(|own| own == port)
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = u32::from(own) ^ u32::from(other);
                differs.leading_zeros() >= bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = u128::from(own) ^ u128::from(other);
                differs.leading_zeros() >= bits
            }
            _ => false,
        }
    }
}

/// Whether the address is public: not of this machine, of a private network, or for a special purpose.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_of_protocols = a == 192 && b == 0 && c == 0;
    let is_benchmark = a == 198 && (18..20).contains(&b);
    !(is_special || is_shared || is_of_protocols || is_benchmark || a == 0 || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // A global address that contains an IPv4 address leads to that one.
    let embedded = match first {
        0x2002 => Some(first_v4(address, 16)),
        0x0064 if second == 0xff9b => Some(first_v4(address, 96)),
        _ => None,
    };
    if let Some(inner) = embedded {
        return is_public_v4(inner);
    }
    let is_global = first & 0xe000 == 0x2000;
    let is_documentation = first == 0x2001 && second == 0x0db8 || first == 0x3fff;
    let is_of_protocols = first == 0x2001 && second < 0x0200;
    is_global && !is_documentation && !is_of_protocols
}

/// The IPv4 address that begins after this many bits.
fn first_v4(address: Ipv6Addr, bits: u32) -> Ipv4Addr {
    Ipv4Addr::from((u128::from(address) >> (96 - bits)) as u32)
}

#[cfg(test)]
mod tests;
