//! The values of a mount's keys: defaults, parsers, and the rules that they hold.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, Uri};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::operation::{Kind, TenantId};
use crate::time_text::parse_duration;

/// The prefix of the kinds of relays' operations.
pub(super) const KIND_PREFIX: &str = "relay.";

/// The base URL of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// The prefix of every path; without a trailing slash, often empty.
    pub path: String,
}

pub(super) const fn accepted() -> u16 {
    202
}

pub(super) const fn sixteen() -> u16 {
    16
}

pub(super) const fn yes() -> bool {
    true
}

pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let kind = Kind::parse(&format!("{}{name}", KIND_PREFIX));
    match kind {
        Ok(_) if !name.is_empty() => Ok(name),
        _ => Err(D::Error::custom("name must be letters, digits, '-', '_' or '.', at most 122")),
    }
}

pub(super) fn tenant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TenantId>, D::Error> {
    let tenant = TenantId::parse(&String::deserialize(from)?);
    tenant.map(Some).map_err(|rule| D::Error::custom(format!("tenant {rule}")))
}

/// This server's own paths, including gRPC's.
const OWN: [&str; 8] =
    ["/v1", "/openapi.json", "/livez", "/readyz", "/metrics", "/longrun.", "/grpc.", "/google."];

pub(super) fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let given = String::deserialize(from)?;
    let prefix = given.strip_suffix('/').unwrap_or(&given);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment =
        |part: &str| !part.is_empty() && !matches!(part, "." | "..") && part.bytes().all(plain);
    if !given.starts_with('/') || !prefix.split('/').skip(1).all(is_segment) {
        let rule = "prefix must be a path such as /exports, of letters, digits, '-', '.', '_', '~'";
        return Err(D::Error::custom(rule));
    }
    let own = |own: &&str| {
        prefix
            .strip_prefix(*own)
            .is_some_and(|rest| own.ends_with('.') || rest.is_empty() || rest.starts_with('/'))
    };
    if OWN.iter().any(own) {
        let rule = format!("prefix must not be {prefix}, which is this server's own");
        return Err(D::Error::custom(rule));
    }
    Ok(prefix.to_owned())
}

pub(super) fn upstream<'de, D: Deserializer<'de>>(from: D) -> Result<Upstream, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = || D::Error::custom("upstream must be a URL such as http://127.0.0.1:9000/api");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let path = uri.path().trim_end_matches('/').to_owned();
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let joined = format!("{path}/").parse::<PathAndQuery>();
    let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(*scheme));
    match (scheme, authority, joined) {
        (Some(scheme), Some(authority), Ok(_)) if uri.query().is_none() => {
            Ok(Upstream { scheme: scheme.clone(), authority: authority.clone(), path })
        }
        _ => Err(wrong()),
    }
}

pub(super) fn answer<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    match u16::deserialize(from)? {
        status @ (202 | 303) => Ok(status),
        _ => Err(D::Error::custom("answer must be 202 or 303")),
    }
}

pub(super) fn concurrency<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    ranged(from, 1..=10_000, "concurrency must be a whole number from 1 to 10,000")
}

pub(super) fn attempts<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    ranged(from, 1..=100, "max_attempts must be a whole number from 1 to 100")
}

/// A whole number within a range. `rule` is the refusal of anything else, of numbers too large to read as well.
pub(in crate::config) fn ranged<'de, D: Deserializer<'de>>(
    from: D,
    range: RangeInclusive<u16>,
    rule: &str,
) -> Result<u16, D::Error> {
    let number = u16::deserialize(from).ok().filter(|number| range.contains(number));
    number.ok_or_else(|| D::Error::custom(rule))
}

pub(super) fn optional_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    super::super::size(&typed(from)?).map(Some).map_err(D::Error::custom)
}

/// A time limit of a table.
pub(in crate::config) fn duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Duration, D::Error> {
    to_duration(&typed(from)?).map_err(D::Error::custom)
}

/// Parses a time limit; the error continues the name of its key.
pub(in crate::config) fn to_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    let in_range =
        (Duration::from_millis(1)..=super::super::rules::MAX_DURATION).contains(&duration);
    if in_range { Ok(duration) } else { Err("must be from 1ms to ten years".to_owned()) }
}

/// A size or a duration as on a command line: a text, or a number without a unit.
fn typed<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match toml::Value::deserialize(from)? {
        toml::Value::String(text) => text,
        value => value.to_string(),
    })
}

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

pub(super) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?.into_iter().map(|name| {
        let valid = HeaderName::try_from(name.as_str());
        valid.map(|valid| valid.as_str().to_owned()).map_err(|_| name)
    });
    let names: Result<_, String> = names.collect();
    names.map_err(|name| D::Error::custom(format!("{name:?} must be the name of a header field")))
}

pub(super) fn optional_names<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeSet<String>>, D::Error> {
    names(from).map(Some)
}

pub(super) fn header_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match super::super::size(&typed(from)?).map_err(D::Error::custom)? {
        bytes if (8 << 10..=4 << 20).contains(&bytes) => Ok(bytes),
        _ => Err(D::Error::custom("max_header_bytes must be from 8KiB to 4MiB")),
    }
}

pub(super) fn header_fields<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        number @ 100..=10_000 => Ok(number),
        _ => Err(D::Error::custom("max_header_fields must be from 100 to 10000")),
    }
}

/// Parses origins as browsers send them: scheme, host and port, in lower case.
pub(super) fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(from)?;
    let is_origin = |text: &String| {
        let uri = text.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
        host.is_some_and(|(scheme, host)| *text == format!("{scheme}://{host}"))
            && !text.contains('@')
            && !text.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    match origins.iter().find(|text| !is_origin(text)) {
        Some(text) => {
            let rule = format!("{text:?} must be an origin such as https://app.example.com");
            Err(D::Error::custom(rule))
        }
        None => Ok(origins),
    }
}
