//! Spans of this server: their collector, and the last ones.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use crate::client::Client;
use crate::config::Tracing;
use crate::spans::Spans;

/// The least time for the last spans, even if the drain timeout is over.
const LEAST: Duration = Duration::from_millis(500);
/// The longest time for the last spans, because an unavailable collector must not delay a restart.
const MOST: Duration = Duration::from_secs(3);

/// Spans for the collector in flags or variables, if there is one.
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

/// Sends the remaining spans.
pub(super) async fn close(spans: Spans, until: Instant) {
    if spans.are_off() {
        return;
    }
    let most = until.saturating_duration_since(Instant::now()).clamp(LEAST, MOST);
    // It ends by itself, and loses what it could not send.
    let _ = tokio::task::spawn_blocking(move || spans.stop(most)).await;
}
