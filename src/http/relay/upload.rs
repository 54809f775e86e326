//! Watches a request's body on its way to an upstream: which side broke it off, and which side is slow.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::service::{Reason, ServiceError};

/// Why a body did not arrive. The client is at fault, not the upstream.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unsent {
    /// It ended early, or its framing is wrong.
    #[error("the body did not arrive completely")]
    Broken,
    /// Nothing arrived for this long.
    #[error("nothing of the body arrived within {}", humantime::format_duration(*.0))]
    Stalled(Duration),
}

/// The state of a body on its way.
#[derive(Clone, Debug)]
pub(super) struct Watched(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    failure: Option<Unsent>,
    /// Since when the upstream has to act; `None` while the client has to.
    upstream_since: Option<Instant>,
}

/// The body itself.
struct Upload {
    body: Body,
    watched: Watched,
    limit: Duration,
    /// Runs while the client has to act, not while the upstream has to.
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

/// The same body, which fails if nothing of it arrives within `limit`.
pub(super) fn watch(body: Body, limit: Duration) -> (Body, Watched) {
    let known = Known { failure: None, upstream_since: Some(Instant::now()) };
    let watched = Watched(Arc::new(Mutex::new(known)));
    let timer = Box::pin(tokio::time::sleep(limit));
    let upload = Upload { body, watched: watched.clone(), limit, timer, is_waiting: false };
    (Body::new(upload), watched)
}

impl Watched {
    /// Returns when the upstream has been idle for `limit`, either to accept more of the body or to respond to all of
    /// it.
    pub(super) async fn upstream_late(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            // While the client has to act, it may finish at any time.
            let late_at = self.with(|known| known.upstream_since).unwrap_or(now) + limit;
            if late_at <= now {
                return;
            }
            tokio::time::sleep_until(late_at).await;
        }
    }

    /// The error if the client did not send the whole body.
    pub(super) fn refusal(&self) -> Option<ServiceError> {
        self.with(|known| known.failure).map(|unsent| match unsent {
            Unsent::Broken => ServiceError::invalid_field("body", "must arrive completely"),
            Unsent::Stalled(_) => ServiceError::new(Reason::RequestTimeout, unsent.to_string()),
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Upload {
    fn fail(&mut self, unsent: Unsent) -> axum::Error {
        self.watched.with(|known| known.failure = Some(unsent));
        axum::Error::new(unsent)
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            if !this.is_waiting {
                this.is_waiting = true;
                this.watched.with(|known| known.upstream_since = None);
                this.timer.as_mut().reset(Instant::now() + this.limit);
            }
            ready!(this.timer.as_mut().poll(cx));
            let stalled = Unsent::Stalled(this.limit);
            return Poll::Ready(Some(Err(this.fail(stalled))));
        };
        this.is_waiting = false;
        this.watched.with(|known| known.upstream_since = Some(Instant::now()));
        Poll::Ready(match frame {
            Some(Err(_)) => Some(Err(this.fail(Unsent::Broken))),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
