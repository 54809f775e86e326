//! Relay mounts in the configuration file: one struct per concern. `values` has the rule of each key.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Scheme;
use serde::Deserialize;
use toml::Spanned;

use crate::dialect::FileError;
use crate::operation::{RetryPolicy, TenantId};

mod values;

pub use values::Upstream;
pub(super) use values::{duration, ranged, to_duration};

/// An HTTP API under a prefix of this server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The mount's name; its operations are of the kind `relay.NAME`.
    #[serde(deserialize_with = "values::name")]
    pub name: String,
    /// The path prefix, e.g. `/exports`; without a trailing slash.
    #[serde(deserialize_with = "values::prefix")]
    pub prefix: String,
    /// The API's base URL; the part of the path after the prefix is appended.
    #[serde(deserialize_with = "values::upstream")]
    pub upstream: Upstream,
    /// The tenant of requests without credentials for this server, because the upstream checks its own. `None`, the
    /// default: such requests are refused if callers must have credentials.
    #[serde(default, deserialize_with = "values::tenant")]
    pub tenant: Option<TenantId>,
    /// Whether the upstream gets the client's `Host` instead of its own.
    #[serde(default)]
    pub preserve_host: bool,
    /// Whether URLs of the upstream in `Location`, `Content-Location` and `Link` become URLs of the mount.
    #[serde(default = "values::yes")]
    pub rewrite_locations: bool,
    /// A file of certificates (PEM), the only trusted ones for an `https` upstream; by default the system's are
    /// trusted.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The condition under which a request becomes an operation.
    #[serde(default)]
    pub trigger: Trigger,
    /// The status of the response to a request that became an operation: 202 by default, or 303.
    #[serde(default = "values::accepted", deserialize_with = "values::answer")]
    pub answer: u16,
    /// The largest body of a request that becomes an operation, in bytes; at most, and by default, the largest input of
    /// the server.
    #[serde(default, deserialize_with = "values::optional_size")]
    pub max_body: Option<usize>,
    /// The maximum number of operations executed concurrently against the upstream; 16 by default.
    #[serde(default = "values::sixteen", deserialize_with = "values::concurrency")]
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
    #[serde(deserialize_with = "values::origins")]
    pub origins: Vec<String>,
}

/// Time limits of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The limit for connecting to the upstream; 5 s by default.
    #[serde(deserialize_with = "values::duration")]
    pub connect_timeout: Duration,
    /// How long the upstream may be idle before its response to a passed-through request begins: before it accepts more
    /// of the body, or begins to respond; 60 s by default.
    #[serde(deserialize_with = "values::duration")]
    pub response_timeout: Duration,
    /// How long a connection without a request is kept; 4 s by default. If the upstream closes its side earlier, a
    /// request may hit a connection that is just being closed.
    #[serde(deserialize_with = "values::duration")]
    pub idle_timeout: Duration,
    /// The largest header of an upstream's response, in bytes; from 8 KiB to 4 MiB, 400 KiB by default.
    #[serde(deserialize_with = "values::header_bytes")]
    pub max_header_bytes: usize,
    /// The maximum number of header fields in an upstream's response; from 100 to 10,000, 1,000 by default.
    #[serde(deserialize_with = "values::header_fields")]
    pub max_header_fields: usize,
    /// The limit from submission to the first attempt; none by default.
    #[serde(deserialize_with = "values::optional_duration")]
    pub queue_timeout: Option<Duration>,
    /// The limit for the upstream's whole response to an operation's request; 10 min by default.
    #[serde(deserialize_with = "values::duration")]
    pub attempt_timeout: Duration,
    /// The limit from submission to the end; none by default.
    #[serde(deserialize_with = "values::optional_duration")]
    pub deadline: Option<Duration>,
}

/// The retries of operations' requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// The maximum number of attempts, from 1 to 100; 3 by default. A request whose method is not idempotent is sent at
    /// most once: for it these are attempts to connect.
    #[serde(deserialize_with = "values::attempts")]
    pub max_attempts: u16,
}

/// The header fields to pass on, besides HTTP's own rules for one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// Only these fields; `None`, the default: all.
    #[serde(deserialize_with = "values::optional_names")]
    pub allow: Option<BTreeSet<String>>,
    /// Never these fields.
    #[serde(deserialize_with = "values::names")]
    pub deny: BTreeSet<String>,
    /// Fields that an operation keeps although they look like credentials, e.g. `authorization`. They are stored with
    /// it. None by default: then only passed-through requests have such fields.
    #[serde(deserialize_with = "values::names")]
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
    pub const KIND_PREFIX: &str = values::KIND_PREFIX;

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

#[cfg(test)]
mod tests;
