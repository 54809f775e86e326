//! What the tests have in common: servers to test, callers, a scripted worker, and patience.
//!
//! No test sleeps: each waits for an event, under [`soon`], or moves a manual clock.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::task::JoinHandle;

use longrun::proto::v1::{Payload, RetryPolicy, Settings, SubmitRequest, payload};

mod api;
mod clock;
mod clocked;
mod proxy;
mod refused;
mod server;
mod worker;

pub use api::{Api, Watching, watch_from, watch_now};
pub use clocked::{ClockedServer, Tuning};
pub use proxy::{Proxy, Way};
pub use refused::{Refusal, Refused};
pub use server::TestServer;
pub use worker::{TestWorker, attempt_of, hello, open_stream};

/// Longer than anything takes that works, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must happen soon; fails, naming the line that waited, when it does not.
#[track_caller]
pub fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let waiting = Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("did not happen within {PATIENCE:?}, waited for at {waiting}"),
        }
    }
}

/// Runs something beside the test, which must wait for it.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

/// A submission without anything that is optional.
pub fn submission(kind: &str) -> SubmitRequest {
    SubmitRequest { kind: kind.to_owned(), ..SubmitRequest::default() }
}

/// The same submission with these settings.
pub fn with_settings(request: SubmitRequest, settings: Settings) -> SubmitRequest {
    SubmitRequest { settings: Some(settings), ..request }
}

/// Up to `max_attempts`, all at once.
pub fn attempts(max_attempts: i32) -> Settings {
    let at_once = Some(prost_types::Duration::default());
    let policy = RetryPolicy {
        max_attempts,
        initial_backoff: at_once,
        max_backoff: at_once,
        ..RetryPolicy::default()
    };
    Settings { retry_policy: Some(policy), ..Settings::default() }
}

/// Bytes of no particular type.
pub fn data(bytes: impl Into<bytes::Bytes>) -> Payload {
    Payload { content: Some(payload::Content::Data(bytes.into())), ..Payload::default() }
}

/// Text.
pub fn text(text: &str) -> Payload {
    Payload { content: Some(payload::Content::Text(text.to_owned())), ..Payload::default() }
}

/// A duration on the wire.
pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// A duration on the wire.
pub fn nanos(nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: 0, nanos })
}
