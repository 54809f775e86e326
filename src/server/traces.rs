//! Spans of this server: where they are sent, and the last of them.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use crate::client::Client;
use crate::config::Tracing;
use crate::spans::Spans;

/// For the last spans, however little of the drain timeout is left.
const LEAST: Duration = Duration::from_millis(500);
/// For the last spans, however much is left: a collector that is away shall not delay a restart.
const MOST: Duration = Duration::from_secs(3);

/// Spans to the collector that flags or variables name, or none.
pub(super) fn open(config: &Tracing) -> anyhow::Result<Spans> {
    let Some(endpoint) = config.endpoint(|name| std::env::var(name).ok()) else {
        return Ok(Spans::off());
    };
    let failed = || format!("--otlp-endpoint {endpoint} cannot be used");
    let client = Client::builder(&endpoint).connect_lazy().with_context(failed)?;
    let spans = Spans::to(&endpoint, client.channel()).with_context(failed)?;
    tracing::info!(endpoint, "spans are exported");
    Ok(spans)
}

/// Sends what is left.
pub(super) async fn close(spans: Spans, until: Instant) {
    if spans.are_off() {
        return;
    }
    let most = until.saturating_duration_since(Instant::now()).clamp(LEAST, MOST);
    // It ends by itself, and what it could not send is lost.
    let _ = tokio::task::spawn_blocking(move || spans.stop(most)).await;
}
