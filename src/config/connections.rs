//! How many may connect, and how long they may take over what they send.

use std::time::Duration;

use clap::Args;

use crate::time_text::parse_duration;

/// How many may connect, and how long they may take.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Connections")]
pub struct Connections {
    /// Most connections at once, as far as open files (`ulimit -n`) leave room. Beyond that the one that has been idle for
    /// longest is closed for the next; where none is idle, others are answered 503 and closed, unless they ask for health
    #[arg(long, value_name = "N", env = "LONGRUN_MAX_CONNECTIONS", default_value_t = Connections::default().max_connections)]
    pub max_connections: usize,
    /// How long the header of a request may take to arrive, and before it a TLS handshake; between requests, HTTP/1
    /// connections may be idle for as long
    #[arg(long, value_name = "DURATION", env = "LONGRUN_HEADER_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub header_timeout: Duration,
    /// How long a connection may be open without any call
    #[arg(long, value_name = "DURATION", env = "LONGRUN_IDLE_TIMEOUT", default_value = "5m", value_parser = parse_duration)]
    pub idle_timeout: Duration,
    /// How long the body of a request may take to arrive
    #[arg(long, value_name = "DURATION", env = "LONGRUN_BODY_TIMEOUT", default_value = "60s", value_parser = parse_duration)]
    pub body_timeout: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            body_timeout: Duration::from_secs(60),
        }
    }
}
