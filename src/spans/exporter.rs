//! An unavailable collector costs only its spans: the queue before it is bounded, spans that do not fit are dropped,
//! and the log reports that when it begins, from time to time, and when it ends.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::time::Instant;

/// How often a failure that lasts is logged.
const REMINDER: Duration = Duration::from_secs(600);

/// An exporter whose failures are logged.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    endpoint: String,
    failing: Mutex<Option<Failing>>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    lost: usize,
    logged_at: Instant,
}

impl<E> Watched<E> {
    pub(super) fn new(exporter: E, endpoint: String) -> Self {
        Self { exporter, endpoint, failing: Mutex::default() }
    }

    fn came_to(&self, spans: usize, result: &OTelSdkResult) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = &*self.endpoint;
        match result {
            Ok(()) => {
                if let Some(Failing { lost, .. }) = failing.take() {
                    tracing::info!(endpoint, lost, "spans are exported again");
                }
            }
            Err(error) => {
                let now = Instant::now();
                let before = *failing;
                let lost = before.map_or(0, |before| before.lost) + spans;
                let is_news = before.is_none_or(|before| now - before.logged_at >= REMINDER);
                if is_news {
                    tracing::warn!(endpoint, lost, %error, "spans cannot be exported, and are lost");
                }
                let logged_at = before.filter(|_| !is_news).map_or(now, |before| before.logged_at);
                *failing = Some(Failing { lost, logged_at });
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.came_to(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
