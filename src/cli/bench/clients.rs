//! The clients: each submits, learns of the end, and starts again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::args::{Load, Watch};
use super::endings::{self, Waiting};
use super::tally::Tally;
use crate::client::{self, Client};
use crate::proto::v1::operation::State;
use crate::proto::v1::payload::Content;
use crate::proto::v1::{Operation, Payload, Settings, SubmitRequest};

/// A client whose call failed waits this long before its next.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The state that all clients share.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) load: Load,
    pub(super) kinds: Vec<String>,
    /// The prefix of the idempotency keys, which no other run has.
    pub(super) id: String,
    pub(super) tally: Arc<Tally>,
    pub(super) waiting: Arc<Waiting>,
    /// The number of the next submission.
    pub(super) next: AtomicU64,
    /// The number of submissions to make.
    pub(super) count: u64,
    /// Cancelled when no client may submit again.
    pub(super) stop: CancellationToken,
}

/// Submits until the run is over; with a rate, by a schedule that starts at `began`.
pub(super) async fn submit(run: Arc<Run>, client: Client, began: Instant) {
    while let Some((number, begun)) = run.next_turn(began).await {
        if let Err(error) = run.live(&client, number, begun).await {
            run.tally.fail(|| format!("{error:#}"));
            let pause = sleep(AFTER_FAILURE);
            tokio::select! {
                () = run.stop.cancelled() => {}
                () = pause => {}
            }
        }
    }
}

impl Run {
    /// The next submission's number, and the time that it counts from.
    async fn next_turn(&self, began: Instant) -> Option<(u64, Instant)> {
        if self.stop.is_cancelled() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.count {
            return None;
        }
        let Some(rate) = self.load.rate else { return Some((number, Instant::now())) };
        let due = began + Duration::from_secs_f64(number as f64 / f64::from(rate));
        if due <= Instant::now() {
            return Some((number, due));
        }
        tokio::select! {
            () = self.stop.cancelled() => None,
            // A late timer says nothing about the server.
            () = sleep_until(due) => Some((number, Instant::now())),
        }
    }

    /// One operation from its submission to its end.
    async fn live(&self, client: &Client, number: u64, begun: Instant) -> anyhow::Result<()> {
        let key = format!("{}-{number}", self.id);
        let watch = self.load.watch;
        if watch == Watch::Submit {
            let watch = client.submit_and_watch(self.request(number, key, begun));
            return self.watched_live(watch, begun).await;
        }
        let end = (watch == Watch::Feed).then(|| self.waiting.register(key.clone()));
        let submitted = match client.submit(self.request(number, key.clone(), begun)).await {
            Ok(submitted) => submitted,
            Err(error) => {
                self.waiting.forget(&key);
                bail!("submit: {:?}: {}", error.code(), error.message());
            }
        };
        self.tally.submit.record(begun.elapsed());
        let ended = match end {
            Some(end) => Some(end.await?),
            None => endings::wait(client, &submitted, watch).await?,
        };
        let Some(ended) = ended else { return Ok(()) };
        self.tally.end.record(begun.elapsed());
        check(&ended)
    }

    /// The same by SubmitAndWatch.
    async fn watched_live(&self, mut watch: client::Watch, begun: Instant) -> anyhow::Result<()> {
        let operation = match watch.next().await {
            Some(Ok(message)) => message.operation.unwrap_or_default(),
            Some(Err(error)) => bail!("submit: {:?}: {}", error.code(), error.message()),
            None => bail!("submit: nothing came"),
        };
        self.tally.submit.record(begun.elapsed());
        let ended = if operation.done { operation } else { endings::last_word(watch).await? };
        self.tally.end.record(begun.elapsed());
        check(&ended)
    }

    fn request(&self, number: u64, idempotency_key: String, begun: Instant) -> SubmitRequest {
        let Load { payload, retention, watch, .. } = self.load;
        let mut data = vec![b'x'; payload as usize];
        if let Some(time) = data.first_chunk_mut() {
            *time = self.tally.encode(begun);
        }
        let retention = prost_types::Duration::try_from(retention).ok();
        SubmitRequest {
            kind: self.kinds.get(number as usize % self.kinds.len()).cloned().unwrap_or_default(),
            input: Some(Payload {
                content: Some(Content::Data(Bytes::from(data))),
                ..Payload::default()
            }),
            settings: Some(Settings {
                retention,
                // Without this, operations without a waiting client could stay in the queue for good.
                queue_timeout: retention.filter(|_| watch == Watch::None),
                ..Settings::default()
            }),
            idempotency_key,
            ..SubmitRequest::default()
        }
    }
}

fn check(ended: &Operation) -> anyhow::Result<()> {
    let state = ended.state();
    ensure!(state == State::Succeeded, "{} ended {}", ended.name, state.as_str_name());
    Ok(())
}
