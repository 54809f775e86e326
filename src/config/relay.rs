//! Relay mounts in the configuration file: parsed and checked, one struct per concern.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, Uri};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use crate::dialect::FileError;
use crate::operation::{Kind, RetryPolicy, TenantId};
use crate::time_text::parse_duration;

/// An HTTP API under a prefix of this server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The mount's name; its operations are of the kind `relay.NAME`.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// The path prefix, e.g. `/exports`; without a trailing slash.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
    /// The API's base URL; the part of the path after the prefix is appended.
    #[serde(deserialize_with = "upstream")]
    pub upstream: Upstream,
    /// The tenant of requests without credentials for this server, because the upstream checks its own. `None`, the
    /// default: such requests are refused if callers must have credentials.
    #[serde(default, deserialize_with = "tenant")]
    pub tenant: Option<TenantId>,
    /// Whether the upstream gets the client's `Host` instead of its own.
    #[serde(default)]
    pub preserve_host: bool,
    /// Whether URLs of the upstream in `Location`, `Content-Location` and `Link` become URLs of the mount.
    #[serde(default = "yes")]
    pub rewrite_locations: bool,
    /// A file of certificates (PEM), the only trusted ones for an `https` upstream; by default the system's are
    /// trusted.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The condition under which a request becomes an operation.
    #[serde(default)]
    pub trigger: Trigger,
    /// The status of the response to a request that became an operation: 202 by default, or 303.
    #[serde(default = "accepted", deserialize_with = "answer")]
    pub answer: u16,
    /// The largest body of a request that becomes an operation, in bytes; at most, and by default, the largest input of
    /// the server.
    #[serde(default, deserialize_with = "optional_size")]
    pub max_body: Option<usize>,
    /// The maximum number of operations executed concurrently against the upstream; 16 by default.
    #[serde(default = "sixteen", deserialize_with = "concurrency")]
    pub concurrency: u16,
    /// Time limits.
    #[serde(default)]
    pub limits: Limits,
    /// The retries of operations' requests.
    #[serde(default)]
    pub retries: Retries,
    /// The header fields to pass on.
    #[serde(default)]
    pub headers: Headers,
}

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

/// The conditions under which a request becomes an operation. Either one is sufficient.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trigger {
    /// `Prefer: respond-async` (RFC 7240); on by default.
    pub prefer: bool,
    /// The name of a query parameter, e.g. `async` or `bgrs`; none by default.
    pub query: Option<String>,
    /// The parameter's values that count; `true`, `1` and `yes` by default.
    pub values: Vec<String>,
    /// Origins whose pages may create operations here, in addition to the server's `--cors-origin`, e.g.
    /// `https://app.example.com`; none by default.
    #[serde(deserialize_with = "origins")]
    pub origins: Vec<String>,
}

/// Time limits of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The limit for connecting to the upstream; 5 s by default.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// How long the upstream may be idle before its response to a passed-through request begins: before it accepts more
    /// of the body, or begins to respond; 60 s by default.
    #[serde(deserialize_with = "duration")]
    pub response_timeout: Duration,
    /// How long a connection without a request is kept; 4 s by default. If the upstream closes its side earlier, a
    /// request may hit a connection that is just being closed.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// The largest header of an upstream's response, in bytes; from 8 KiB to 4 MiB, 400 KiB by default.
    #[serde(deserialize_with = "header_bytes")]
    pub max_header_bytes: usize,
    /// The maximum number of header fields in an upstream's response; from 100 to 10,000, 1,000 by default.
    #[serde(deserialize_with = "header_fields")]
    pub max_header_fields: usize,
    /// The limit from submission to the first attempt; none by default.
    #[serde(deserialize_with = "optional_duration")]
    pub queue_timeout: Option<Duration>,
    /// The limit for the upstream's whole response to an operation's request; 10 min by default.
    #[serde(deserialize_with = "duration")]
    pub attempt_timeout: Duration,
    /// The limit from submission to the end; none by default.
    #[serde(deserialize_with = "optional_duration")]
    pub deadline: Option<Duration>,
}

/// The retries of operations' requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// The maximum number of attempts, from 1 to 100; 3 by default. A request whose method is not idempotent is sent at
    /// most once: for it these are attempts to connect.
    #[serde(deserialize_with = "attempts")]
    pub max_attempts: u16,
}

/// The header fields to pass on, besides HTTP's own rules for one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// Only these fields; `None`, the default: all.
    #[serde(deserialize_with = "optional_names")]
    pub allow: Option<BTreeSet<String>>,
    /// Never these fields.
    #[serde(deserialize_with = "names")]
    pub deny: BTreeSet<String>,
    /// Fields that an operation keeps although they look like credentials, e.g. `authorization`. They are stored with
    /// it. None by default: then only passed-through requests have such fields.
    #[serde(deserialize_with = "names")]
    pub credentials: BTreeSet<String>,
}

impl Default for Trigger {
    fn default() -> Self {
        let values = ["true", "1", "yes"].map(str::to_owned).into();
        Self { prefer: true, query: None, values, origins: Vec::new() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            // Below the 5 s of Node.js, uvicorn and Apache.
            idle_timeout: Duration::from_secs(4),
            max_header_bytes: 400 << 10,
            max_header_fields: 1_000,
            queue_timeout: None,
            attempt_timeout: Duration::from_secs(600),
            deadline: None,
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { max_attempts: 3 }
    }
}

impl Mount {
    /// The prefix of the kinds of relays' operations.
    pub const KIND_PREFIX: &str = "relay.";

    /// The kind of the mount's operations.
    pub fn kind(&self) -> String {
        format!("{}{}", Self::KIND_PREFIX, self.name)
    }

    /// The retry policy of the mount's operations.
    pub fn retry_policy(&self, is_idempotent: bool) -> RetryPolicy {
        let max_attempts = if is_idempotent { u32::from(self.retries.max_attempts) } else { 1 };
        RetryPolicy { max_attempts, ..RetryPolicy::default() }
    }
}

/// The mounts of a file. No two may share a name or a path.
pub(super) fn mounts(text: &str, tables: Vec<Spanned<Mount>>) -> Result<Vec<Mount>, FileError> {
    for (at, mount) in tables.iter().enumerate() {
        let (name, prefix) = (&mount.as_ref().name, &mount.as_ref().prefix);
        if mount.as_ref().ca_file.is_some() && mount.as_ref().upstream.scheme != Scheme::HTTPS {
            let reason = "ca_file is for an upstream that is an https:// URL".to_owned();
            return Err(FileError::at(text, mount.span().start, reason));
        }
        for earlier in tables.iter().take(at).map(Spanned::as_ref) {
            let reason = match () {
                () if earlier.name == *name => format!("the name {name} is given twice"),
                () if earlier.prefix == *prefix => format!("the prefix {prefix} is given twice"),
                () => continue,
            };
            return Err(FileError::at(text, mount.span().start, reason));
        }
    }
    Ok(tables.into_iter().map(Spanned::into_inner).collect())
}

const fn accepted() -> u16 {
    202
}

const fn sixteen() -> u16 {
    16
}

const fn yes() -> bool {
    true
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let kind = Kind::parse(&format!("{}{name}", Mount::KIND_PREFIX));
    match kind {
        Ok(_) if !name.is_empty() => Ok(name),
        _ => Err(D::Error::custom("name must be letters, digits, '-', '_' or '.', at most 122")),
    }
}

fn tenant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TenantId>, D::Error> {
    let tenant = TenantId::parse(&String::deserialize(from)?);
    tenant.map(Some).map_err(|rule| D::Error::custom(format!("tenant {rule}")))
}

/// This server's own paths, including gRPC's.
const OWN: [&str; 8] =
    ["/v1", "/openapi.json", "/livez", "/readyz", "/metrics", "/longrun.", "/grpc.", "/google."];

fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
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

fn upstream<'de, D: Deserializer<'de>>(from: D) -> Result<Upstream, D::Error> {
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

fn answer<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    match u16::deserialize(from)? {
        status @ (202 | 303) => Ok(status),
        _ => Err(D::Error::custom("answer must be 202 or 303")),
    }
}

fn concurrency<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    ranged(from, 1..=10_000, "concurrency must be a whole number from 1 to 10,000")
}

fn attempts<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    ranged(from, 1..=100, "max_attempts must be a whole number from 1 to 100")
}

/// A whole number within a range. `rule` is the refusal of anything else, of numbers too large to read as well.
pub(super) fn ranged<'de, D: Deserializer<'de>>(
    from: D,
    range: RangeInclusive<u16>,
    rule: &str,
) -> Result<u16, D::Error> {
    let number = u16::deserialize(from).ok().filter(|number| range.contains(number));
    number.ok_or_else(|| D::Error::custom(rule))
}

fn optional_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    super::size(&typed(from)?).map(Some).map_err(D::Error::custom)
}

/// A time limit of a table.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    to_duration(&typed(from)?).map_err(D::Error::custom)
}

/// Parses a time limit; the error continues the name of its key.
pub(super) fn to_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    let in_range = (Duration::from_millis(1)..=super::rules::MAX_DURATION).contains(&duration);
    if in_range { Ok(duration) } else { Err("must be from 1ms to ten years".to_owned()) }
}

/// A size or a duration as on a command line: a text, or a number without a unit.
fn typed<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match toml::Value::deserialize(from)? {
        toml::Value::String(text) => text,
        value => value.to_string(),
    })
}

fn optional_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

fn names<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?.into_iter().map(|name| {
        let valid = HeaderName::try_from(name.as_str());
        valid.map(|valid| valid.as_str().to_owned()).map_err(|_| name)
    });
    let names: Result<_, String> = names.collect();
    names.map_err(|name| D::Error::custom(format!("{name:?} must be the name of a header field")))
}

fn optional_names<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeSet<String>>, D::Error> {
    names(from).map(Some)
}

fn header_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match super::size(&typed(from)?).map_err(D::Error::custom)? {
        bytes if (8 << 10..=4 << 20).contains(&bytes) => Ok(bytes),
        _ => Err(D::Error::custom("max_header_bytes must be from 8KiB to 4MiB")),
    }
}

fn header_fields<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        number @ 100..=10_000 => Ok(number),
        _ => Err(D::Error::custom("max_header_fields must be from 100 to 10000")),
    }
}

/// Parses origins as browsers send them: scheme, host and port, in lower case.
fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
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

#[cfg(test)]
mod tests;
