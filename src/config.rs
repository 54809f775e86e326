//! What a server is told: one struct per concern, read from flags and `LONGRUN_…` variables.
//!
//! The structs are what the flags say, checked; nothing here opens, binds or starts anything.
//! Programs that embed the server begin with [`ServeConfig::default`], which equals no flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::operation::limits::LimitTable;
use crate::time_text::parse_duration;

mod auth;
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
mod store;
mod tls;
pub mod tokens;
mod tracing;
mod webhooks;

pub use self::tracing::Tracing;
pub use auth::{Auth, Callers};
pub use connections::Connections;
pub use listen::{Browsers, Listen, ShowPages};
pub use metrics::Metrics;
pub use store::{PostgresUrl, Store, StoreUrl, StoreUrlParser};
pub use tls::{CertificateCaller, ClientAuth, Tls, TlsFiles};
pub use webhooks::Webhooks;

/// The default port of servers and clients.
pub const DEFAULT_PORT: u16 = 7420;

/// Flags that contradict each other or a rule. Each names its flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Others could reach a server that lets anybody in.
    #[error(
        "{flag} {address} is reachable from other machines, and nothing asks callers who they are: \
         say --bootstrap-key-file FILE for a first API key, --key-file FILE for a file of keys, --auth required where \
         the store has keys already, or --insecure where the network itself keeps others out; \
         or listen on a loopback address"
    )]
    Exposed {
        /// The flag.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Credentials are given that nobody would be asked for.
    #[error("--auth none contradicts {0}, which is for callers that are asked who they are")]
    Pointless(&'static str),
    /// Pages would hide what is mounted at their paths.
    #[error("--pages on contradicts the mount at {0}: pages are at / and under /ui/")]
    Mounted(String),
    /// A duration or a number is out of its range.
    #[error("{flag} must be {rule}")]
    Range {
        /// The flag.
        flag: &'static str,
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
    /// Who may call.
    #[command(flatten)]
    pub callers: Callers,
    /// Listening within TLS.
    #[command(flatten)]
    pub tls: Tls,
    /// Who may call from a browser.
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
    #[arg(long, value_name = "N", env = "LONGRUN_MAX_OUTSTANDING", default_value_t = Limits::default().max_outstanding)]
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
    /// Whether callers must have credentials: as the flag says, or else where one says where they are.
    pub fn must_callers_be_known(&self) -> bool {
        let has_source =
            self.tokens.keys.is_some() || self.callers.has_source() || !self.tls.callers.is_empty();
        self.callers.auth.map_or(has_source, |auth| auth == Auth::Required)
    }

    /// Refuses what no server should be started with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.tokens.validate()?;
        let is_asked = self.must_callers_be_known();
        self.check_exposure(is_asked)?;
        self.check_pages()?;
        self.webhooks.check()?;
        for (is_given, flag) in [
            (self.tokens.keys.is_some(), "--jwt-keys"),
            (!self.tls.callers.is_empty(), "--tls-caller"),
            (self.callers.private_operations, "--private-operations"),
            (self.callers.key_file.is_some(), "--key-file"),
            (self.callers.bootstrap_key_file.is_some(), "--bootstrap-key-file"),
        ] {
            if is_given && !is_asked {
                return Err(ConfigError::Pointless(flag));
            }
        }
        let rules = [
            (
                self.tls.is_whole(),
                "--tls-listen, --tls-cert and --tls-key",
                "given together, --tls-client-ca with them, --tls-client-auth with that",
            ),
            (
                !self.listen.no_plain || self.tls.listen.is_some() || self.listen.unix.is_some(),
                "--no-plain",
                "given with --tls-listen or --listen-unix",
            ),
            (self.limits.max_payload_bytes >= 1 << 10, "--max-payload-bytes", "at least 1KiB"),
            (
                self.limits.inline_payload_bytes <= self.limits.max_payload_bytes,
                "--inline-payload-bytes",
                "at most --max-payload-bytes",
            ),
            (
                (1 << 10..=1 << 30).contains(&self.limits.max_message_bytes),
                "--max-message-bytes",
                "from 1KiB to 1GiB",
            ),
            (
                self.limits.inline_payload_bytes <= self.store.object_threshold_bytes,
                "--inline-payload-bytes",
                "at most --object-threshold-bytes",
            ),
            (
                self.store.object_threshold_bytes <= 64 << 20,
                "--object-threshold-bytes",
                "at most 64MiB",
            ),
            (self.limits.max_outstanding >= 1, "--max-outstanding", "at least 1"),
            (self.limits.retention <= MAX_DURATION, "--retention", "at most ten years"),
            (self.connections.max_connections >= 1, "--max-connections", "at least 1"),
            (brief(self.connections.header_timeout), "--header-timeout", "from 100ms to 1h"),
            (brief(self.connections.idle_timeout), "--idle-timeout", "from 100ms to 1h"),
            (brief(self.connections.body_timeout), "--body-timeout", "from 100ms to 1h"),
            (within(self.liveness.lease_duration), "--lease-duration", "from 1s to 1h"),
            (within(self.liveness.heartbeat_interval), "--heartbeat-interval", "from 1s to 1h"),
            (within(self.liveness.max_stream_age), "--max-stream-age", "from 1s to 1h"),
            (self.metrics.max_kinds <= 10_000, "--metrics-max-kinds", "at most 10000"),
            (
                !(self.metrics.off && self.metrics.listen.is_some()),
                "--no-metrics",
                "given without --metrics-listen",
            ),
            (self.stop.drain_timeout <= LONGEST, "--drain-timeout", "at most 1h"),
        ];
        match rules.into_iter().find(|(kept, ..)| !kept) {
            Some((_, flag, rule)) => Err(ConfigError::Range { flag, rule }),
            None => Ok(()),
        }
    }
}

const MAX_DURATION: Duration = crate::operation::Settings::MAX_DURATION;
const LONGEST: Duration = Duration::from_secs(3600);

/// Whether an interval is neither a busy loop nor so long that the dead are never noticed.
fn within(interval: Duration) -> bool {
    (Duration::from_secs(1)..=LONGEST).contains(&interval)
}

/// Whether a time limit leaves an honest peer time, and ends.
fn brief(limit: Duration) -> bool {
    (Duration::from_millis(100)..=LONGEST).contains(&limit)
}

/// A number of bytes, with or without a unit.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let factor = match text[digits.len()..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("the unit must be KiB, MiB or GiB".to_owned()),
    };
    let number: usize = digits.parse().map_err(|_| "must be a number, e.g. 64KiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "is too large".to_owned())
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
            (["--lease-duration", "10ms"], "--lease-duration must be from 1s to 1h"),
            (
                ["--inline-payload-bytes", "2MiB"],
                "--inline-payload-bytes must be at most --object-threshold-bytes",
            ),
            (["--max-outstanding", "0"], "--max-outstanding must be at least 1"),
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
