//! Rules for the whole configuration: values out of range, and flags that need or exclude others.

use std::time::Duration;

use super::{ConfigError, ServeConfig};

pub(super) const MAX_DURATION: Duration = crate::operation::Settings::MAX_DURATION;
const LONGEST: Duration = Duration::from_secs(3600);

/// Whether the rule is kept, the flag, its value, and the rule.
type Rule = (bool, &'static str, Option<String>, &'static str);

impl ServeConfig {
    /// Refuses a configuration that breaks a rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.tokens.validate()?;
        let is_asked = self.must_callers_be_known();
        self.check_exposure(is_asked)?;
        self.check_pages()?;
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
        let rules = self.flags_together().into_iter().chain(self.sizes()).chain(self.times());
        keep(rules)
    }

    /// Rules for flags that need or exclude others.
    fn flags_together(&self) -> [Rule; 3] {
        [
            (
                self.tls.is_whole(),
                "--tls-listen, --tls-cert and --tls-key",
                None,
                "given together; --tls-client-ca needs them, and --tls-client-auth and --tls-caller need --tls-client-ca, \
                 e.g. --tls-listen 127.0.0.1:7443 --tls-cert server.pem --tls-key server.key",
            ),
            (
                !self.listen.no_plain || self.tls.listen.is_some() || self.listen.unix.is_some(),
                "--no-plain",
                None,
                "given with --tls-listen or --listen-unix, e.g. --no-plain --listen-unix /run/longrun.sock",
            ),
            (
                !(self.metrics.off && self.metrics.listen.is_some()),
                "--no-metrics",
                None,
                "given without --metrics-listen",
            ),
        ]
    }

    fn sizes(&self) -> [Rule; 8] {
        let (limits, threshold) = (&self.limits, self.store.object_threshold_bytes);
        let inline = limits.inline_payload_bytes;
        [
            (
                limits.max_payload_bytes >= 1 << 10,
                "--max-payload-bytes",
                bytes(limits.max_payload_bytes),
                "at least 1KiB",
            ),
            (
                inline <= limits.max_payload_bytes,
                "--inline-payload-bytes",
                bytes(inline),
                "at most --max-payload-bytes",
            ),
            (
                (1 << 10..=1 << 30).contains(&limits.max_message_bytes),
                "--max-message-bytes",
                bytes(limits.max_message_bytes),
                "from 1KiB to 1GiB",
            ),
            (
                inline <= threshold,
                "--inline-payload-bytes",
                bytes(inline),
                "at most --object-threshold-bytes",
            ),
            (threshold <= 64 << 20, "--object-threshold-bytes", bytes(threshold), "at most 64MiB"),
            count(limits.max_outstanding, 1, u64::MAX, "--max-outstanding", "at least 1"),
            count(
                self.connections.max_connections as u64,
                1,
                u64::MAX,
                "--max-connections",
                "at least 1",
            ),
            count(self.metrics.max_kinds as u64, 0, 10_000, "--metrics-max-kinds", "at most 10000"),
        ]
    }

    fn times(&self) -> [Rule; 10] {
        let (connections, liveness) = (&self.connections, &self.liveness);
        // Neither a busy loop, nor so long that dead peers are never noticed.
        let second = Duration::from_secs(1);
        // Long enough for honest peers, but limited.
        let brief = Duration::from_millis(100);
        let none = Duration::ZERO;
        let time = |value: Duration, least, most, flag, rule| {
            let given = Some(humantime::format_duration(value).to_string().replace(' ', ""));
            ((least..=most).contains(&value), flag, given, rule)
        };
        [
            time(self.limits.retention, none, MAX_DURATION, "--retention", "at most ten years"),
            time(
                connections.header_timeout,
                brief,
                LONGEST,
                "--header-timeout",
                "from 100ms to 1h",
            ),
            time(connections.idle_timeout, brief, LONGEST, "--idle-timeout", "from 100ms to 1h"),
            time(connections.body_timeout, brief, LONGEST, "--body-timeout", "from 100ms to 1h"),
            time(liveness.lease_duration, second, LONGEST, "--lease-duration", "from 1s to 1h"),
            time(
                liveness.heartbeat_interval,
                second,
                LONGEST,
                "--heartbeat-interval",
                "from 1s to 1h",
            ),
            time(liveness.max_stream_age, second, LONGEST, "--max-stream-age", "from 1s to 1h"),
            time(self.stop.drain_timeout, none, LONGEST, "--drain-timeout", "at most 1h"),
            time(
                self.webhooks.retry_for,
                none,
                Duration::from_secs(30 * 24 * 3_600),
                "--webhook-retry-for",
                "at most 30d",
            ),
            time(
                self.webhooks.timeout,
                brief,
                Duration::from_secs(300),
                "--webhook-timeout",
                "from 100ms to 5m",
            ),
        ]
    }
}

/// Refuses by the first rule that is broken.
pub(super) fn keep(rules: impl IntoIterator<Item = Rule>) -> Result<(), ConfigError> {
    match rules.into_iter().find(|(is_kept, ..)| !is_kept) {
        Some((_, flag, given, rule)) => Err(ConfigError::Range { flag, given, rule }),
        None => Ok(()),
    }
}

fn count(value: u64, least: u64, most: u64, flag: &'static str, rule: &'static str) -> Rule {
    ((least..=most).contains(&value), flag, Some(value.to_string()), rule)
}

/// A size as people type it.
fn bytes(size: usize) -> Option<String> {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "")];
    let whole = |(shift, _): &(u32, _)| size.trailing_zeros() >= *shift && size > 0;
    let (shift, unit) = units.into_iter().find(whole).unwrap_or((0, ""));
    Some(format!("{}{unit}", size >> shift))
}
