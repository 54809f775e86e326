//! Limits of connections: their number, and the times for headers, bodies and idleness.

use std::time::Duration;

use clap::Args;

use super::whole;
use crate::time_text::parse_duration;

/// Limits of connections.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Connections")]
pub struct Connections {
    /// Most connections at once, within the limit of open files (`ulimit -n`). For a further one the server closes the
    /// connection that has been idle for longest; if none is idle, the new one gets 503, except health checks
    #[arg(long, value_name = "N", env = "LONGRUN_MAX_CONNECTIONS", default_value_t = Connections::default().max_connections, value_parser = whole(1..=usize::MAX))]
    pub max_connections: usize,
    /// Longest time for the header of a request, for a TLS handshake, and between two requests of an HTTP/1 connection
    #[arg(long, value_name = "DURATION", env = "LONGRUN_HEADER_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub header_timeout: Duration,
    /// Longest time that a connection may be open without any call
    #[arg(long, value_name = "DURATION", env = "LONGRUN_IDLE_TIMEOUT", default_value = "5m", value_parser = parse_duration)]
    pub idle_timeout: Duration,
    /// Longest time for the body of a request
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
