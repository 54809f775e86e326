//! The configuration of webhooks: destinations and time limits.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::operation::callback::Allowed;
use crate::time_text::parse_duration;

/// Where webhooks are sent, and for how long it is tried.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Webhooks")]
pub struct Webhooks {
    /// Where to send; repeatable: a host or *.DOMAIN, with :PORT if only that one, after which no other host is sent to;
    /// an address or a network such as 10.0.0.0/8, without which no private one is
    #[arg(
        long = "webhook-allow",
        value_name = "HOST|NETWORK",
        env = "LONGRUN_WEBHOOK_ALLOW",
        value_delimiter = ','
    )]
    pub allow: Vec<Allowed>,
    /// How long a delivery is tried before it is given up
    #[arg(long = "webhook-retry-for", value_name = "DURATION", env = "LONGRUN_WEBHOOK_RETRY_FOR", default_value = "3d", value_parser = parse_duration)]
    pub retry_for: Duration,
    /// How long a receiver may take to accept one
    #[arg(long = "webhook-timeout", value_name = "DURATION", env = "LONGRUN_WEBHOOK_TIMEOUT", default_value = "15s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Certificates that alone are trusted of receivers, in place of the system's
    #[arg(long = "webhook-ca-file", value_name = "FILE", env = "LONGRUN_WEBHOOK_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            retry_for: Duration::from_secs(3 * 24 * 3_600),
            timeout: Duration::from_secs(15),
            ca_file: None,
        }
    }
}
