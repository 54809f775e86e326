//! The configuration of metrics.

use std::net::SocketAddr;

use clap::Args;

use super::listen::address;
use super::whole;
use crate::metrics::DEFAULT_KINDS;

/// Where metrics are served, and how much of them.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Metrics")]
pub struct Metrics {
    /// Serve metrics at http://HOST:PORT/metrics to every client that can connect there, instead of at /metrics of the other ports
    /// to callers with the role operator; port 0 takes a free one, which a line of output names
    #[arg(id = "metrics_listen", long = "metrics-listen", value_name = "HOST:PORT", env = "LONGRUN_METRICS_LISTEN", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Serve no metrics
    #[arg(id = "no_metrics", long = "no-metrics", env = "LONGRUN_NO_METRICS")]
    pub off: bool,
    /// Kinds with figures of their own; those that come later are counted together as `other`
    #[arg(id = "metrics_max_kinds", long = "metrics-max-kinds", value_name = "N", env = "LONGRUN_METRICS_MAX_KINDS", default_value_t = DEFAULT_KINDS, value_parser = whole(0_usize..=10_000))]
    pub max_kinds: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: None, off: false, max_kinds: DEFAULT_KINDS }
    }
}
