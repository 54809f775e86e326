//! The server's configuration: one struct per concern, read from flags and `LONGRUN_…` variables.
//!
//! The structs have the flags' values, checked; nothing here opens, binds or starts anything. Programs that embed the
//! server begin with [`ServeConfig::default`], which equals no flags.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::operation::limits::LimitTable;
use crate::time_text::parse_duration;

mod auth;
pub mod confinement;
mod connections;
pub mod dialect;
mod exposure;
pub mod file;
pub mod handler;
mod limit;
mod listen;
mod metrics;
mod pages;
pub mod relay;
mod rules;
mod store;
mod tls;
pub mod tokens;
mod tracing;
mod webhooks;

pub use self::tracing::Tracing;
pub use auth::{Auth, Callers};
pub use connections::Connections;
pub use listen::{Browsers, Listen, SchemaFile, ShowPages};
pub use metrics::Metrics;
pub use store::{PostgresUrl, Store, StoreUrl, StoreUrlParser, objects_place};
pub use tls::{CertificateCaller, ClientAuth, Tls, TlsFiles};
pub use webhooks::Webhooks;

/// The default port of servers and clients.
pub const DEFAULT_PORT: u16 = 7420;

/// Flags that contradict each other or a rule. Each names its flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Other machines could reach a server that accepts every caller.
    #[error(
        "{flag} {address} is reachable from other machines, and callers need no credentials: \
         give --bootstrap-key-file FILE for a first API key, --key-file FILE for a file of keys, --auth required if \
         the store has keys already, or --insecure if the network keeps others out; \
         or listen on a loopback address, e.g. {flag} 127.0.0.1:{}",
        .address.port()
    )]
    Exposed {
        /// The flag.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Credentials are configured, but none are required.
    #[error(
        "--auth none contradicts {0}, which is for callers with credentials: omit one of them, or use \
         --auth required"
    )]
    Pointless(&'static str),
    /// Pages would hide what is mounted at their paths.
    #[error(
        "--pages on contradicts the mount at {0}: pages are at / and under /ui/; use --pages off, or mount it elsewhere, \
         e.g. prefix = \"/api\""
    )]
    Mounted(String),
    /// A value is out of range, or a flag needs another one.
    #[error("{flag}{} must be {rule}", .given.as_ref().map(|given| format!(" {given}")).unwrap_or_default())]
    Range {
        /// The flag.
        flag: &'static str,
        /// The flag's value, if a single value is wrong.
        given: Option<String>,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

/// The configuration of `longrun serve`, without its handlers.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct ServeConfig {
    /// Where to listen.
    #[command(flatten)]
    pub listen: Listen,
    /// Credentials of callers.
    #[command(flatten)]
    pub callers: Callers,
    /// Listening within TLS.
    #[command(flatten)]
    pub tls: Tls,
    /// Origins and hosts that browsers may use.
    #[command(flatten)]
    pub browsers: Browsers,
    /// Whose tokens are taken.
    #[command(flatten)]
    pub tokens: tokens::TokenConfig,
    /// Types of others that are known.
    #[command(flatten)]
    pub types: Types,
    /// Where operations are kept.
    #[command(flatten)]
    pub store: Store,
    /// The limits.
    #[command(flatten)]
    pub limits: Limits,
    /// How many may connect, and how long they may take.
    #[command(flatten)]
    pub connections: Connections,
    /// When silence is taken for death.
    #[command(flatten)]
    pub liveness: Liveness,
    /// Where metrics are served.
    #[command(flatten)]
    pub metrics: Metrics,
    /// Where webhooks are sent.
    #[command(flatten)]
    pub webhooks: Webhooks,
    /// Where spans are sent.
    #[command(flatten)]
    pub tracing: Tracing,
    /// How to stop.
    #[command(flatten)]
    pub stop: Stop,
    /// HTTP APIs to stand in front of, from the configuration file.
    #[arg(skip)]
    pub relay: Vec<relay::Mount>,
    /// Dialects to speak, from the configuration file.
    #[arg(skip)]
    pub dialects: Vec<dialect::Mount>,
    /// How much tenants may have, from the configuration file.
    #[arg(skip)]
    pub tenants: LimitTable,
}

/// Types of others that are known.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Types")]
pub struct Types {
    /// File with protobuf types, at most 16 MiB, for reflection and for `Any` in JSON: a FileDescriptorSet with its
    /// imports, as `protoc --include_imports --descriptor_set_out` or `buf build -o` writes it; read again at SIGHUP;
    /// repeatable (the variable: separated by commas)
    #[arg(
        long = "descriptor-set",
        value_name = "FILE",
        env = "LONGRUN_DESCRIPTOR_SETS",
        value_delimiter = ','
    )]
    pub descriptor_sets: Vec<PathBuf>,
}

/// Limits on operations and payloads.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Largest input or result; in bytes, or with KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", env = "LONGRUN_MAX_PAYLOAD_BYTES", default_value = "5GiB", value_parser = size)]
    pub max_payload_bytes: usize,
    /// Largest input or result within a gRPC message or a JSON document; larger ones are streamed
    #[arg(long, value_name = "SIZE", env = "LONGRUN_MAX_MESSAGE_BYTES", default_value = "4MiB", value_parser = size)]
    pub max_message_bytes: usize,
    /// Largest input or result that responses include in an operation; `longrun result` streams larger ones
    #[arg(long, value_name = "SIZE", env = "LONGRUN_INLINE_PAYLOAD_BYTES", default_value = "64KiB", value_parser = size)]
    pub inline_payload_bytes: usize,
    /// Most operations that are not done; the server refuses further submissions with a retry hint
    #[arg(long, value_name = "N", env = "LONGRUN_MAX_OUTSTANDING", default_value_t = Limits::default().max_outstanding, value_parser = whole(1..=u64::MAX))]
    pub max_outstanding: u64,
    /// How long done operations are kept unless their submission says otherwise, e.g. 12h, 7d
    #[arg(long, value_name = "DURATION", env = "LONGRUN_RETENTION", default_value = "7d", value_parser = parse_duration)]
    pub retention: Duration,
}

/// Leases, heartbeats, and the age of streams.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Liveness")]
pub struct Liveness {
    /// After this much silence of a worker its operations go back to the queue
    #[arg(long, value_name = "DURATION", env = "LONGRUN_LEASE_DURATION", default_value = "30s", value_parser = parse_duration)]
    pub lease_duration: Duration,
    /// Silence of a stream after which the server sends a heartbeat; less than half of the proxies' limit
    #[arg(long, value_name = "DURATION", env = "LONGRUN_HEARTBEAT_INTERVAL", default_value = "10s", value_parser = parse_duration)]
    pub heartbeat_interval: Duration,
    /// Age, give or take a fifth, at which the server ends watches and workers' streams; clients resume them
    #[arg(long, value_name = "DURATION", env = "LONGRUN_MAX_STREAM_AGE", default_value = "5m", value_parser = parse_duration)]
    pub max_stream_age: Duration,
}

/// How to stop.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Stopping")]
pub struct Stop {
    /// Longest time from SIGTERM or SIGINT to the end, for calls to finish and attempts to be released; a second signal
    /// ends the server at once
    #[arg(long, value_name = "DURATION", env = "LONGRUN_DRAIN_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload_bytes: 5 << 30,
            max_message_bytes: 4 << 20,
            inline_payload_bytes: 64 << 10,
            max_outstanding: 1_000_000,
            retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(10),
            max_stream_age: Duration::from_secs(300),
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { drain_timeout: Duration::from_secs(10) }
    }
}

impl ServeConfig {
    /// Whether callers must have credentials: as the flag says; by default if a flag names some.
    pub fn must_callers_be_known(&self) -> bool {
        let has_source =
            self.tokens.keys.is_some() || self.callers.has_source() || !self.tls.callers.is_empty();
        self.callers.auth.map_or(has_source, |auth| auth == Auth::Required)
    }
}

/// Parses a number of bytes, with or without a unit.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let factor = match text[digits.len()..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("must be a number of bytes, with KiB, MiB, GiB or no unit".to_owned()),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err("must be a number of bytes, e.g. 64KiB".to_owned());
    }
    let bytes = digits.parse().ok().and_then(|number: usize| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("must be at most {} bytes, e.g. 5GiB", usize::MAX))
}

/// Parses a whole number within a range, both of whose ends the refusal names.
pub(crate) fn whole<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone
where
    N: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    pub(super) fn parse(flags: &[&str]) -> ServeConfig {
        let command = ServeConfig::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).unwrap();
        ServeConfig::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn no_flags_are_the_defaults_and_the_defaults_are_sound() {
        assert_eq!(parse(&[]), ServeConfig::default());
        assert_eq!(ServeConfig::default().validate(), Ok(()));
    }

    #[test]
    fn credentials_that_nobody_is_asked_for_are_refused() {
        for flags in
            [["--auth", "none", "--key-file", "f"], ["--auth", "none", "--bootstrap-key-file", "f"]]
        {
            let error = parse(&flags).validate().unwrap_err().to_string();
            assert!(error.contains(flags[2]), "{error}");
        }
    }

    #[test]
    fn errors_name_the_flag() {
        for (flags, message) in [
            (["--lease-duration", "10ms"], "--lease-duration 10ms must be from 1s to 1h"),
            (
                ["--inline-payload-bytes", "2MiB"],
                "--inline-payload-bytes 2MiB must be at most --object-threshold-bytes",
            ),
        ] {
            assert_eq!(parse(&flags).validate().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("17"), Ok(17));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("2 MiB"), Ok(2 << 20));
        assert!(size("1kb").is_err() && size("MiB").is_err() && size("99999999999GiB").is_err());
    }
}
