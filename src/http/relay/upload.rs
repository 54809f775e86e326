//! The body of a request on its way to an upstream, watched: who broke it off, and when it was all there.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::service::{Reason, ServiceError};

/// Why a body did not arrive. The client's affair, not the upstream's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unsent {
    /// It ended early, or its framing is wrong.
    #[error("the body did not arrive whole")]
    Broken,
    /// Nothing of it came for so long.
    #[error("nothing of the body arrived within {}", humantime::format_duration(*.0))]
    Stalled(Duration),
}

/// What is known of a body that is under way.
#[derive(Debug)]
pub(super) struct Watched {
    failure: Arc<OnceLock<Unsent>>,
    ended: CancellationToken,
}

/// The body itself.
struct Upload {
    body: Body,
    failure: Arc<OnceLock<Unsent>>,
    /// Tells that nothing more will come, also when the upload is given up.
    ending: Option<DropGuard>,
    limit: Duration,
    /// Runs while the client is waited for; not while the upstream is.
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

/// The same body, which fails when nothing of it arrives within `limit`.
pub(super) fn watch(body: Body, limit: Duration) -> (Body, Watched) {
    let ended = CancellationToken::new();
    let failure = Arc::default();
    let watched = Watched { failure: Arc::clone(&failure), ended: ended.clone() };
    let ending = Some(ended.drop_guard()).filter(|_| !body.is_end_stream());
    let timer = Box::pin(tokio::time::sleep(limit));
    (Body::new(Upload { body, failure, ending, limit, timer, is_waiting: false }), watched)
}

impl Watched {
    /// Returns when all of the body has been handed on, or none of it will be any more.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// What the client is told of a body that it did not send.
    pub(super) fn refusal(&self) -> Option<ServiceError> {
        self.failure.get().map(|unsent| match unsent {
            Unsent::Broken => ServiceError::invalid_field("body", "must arrive whole"),
            Unsent::Stalled(_) => ServiceError::new(Reason::RequestTimeout, unsent.to_string()),
        })
    }
}

impl Upload {
    fn fail(&mut self, unsent: Unsent) -> axum::Error {
        // The first failure is the one that counts.
        let _ = self.failure.set(unsent);
        self.ending = None;
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
                this.timer.as_mut().reset(Instant::now() + this.limit);
            }
            ready!(this.timer.as_mut().poll(cx));
            let stalled = Unsent::Stalled(this.limit);
            return Poll::Ready(Some(Err(this.fail(stalled))));
        };
        this.is_waiting = false;
        if frame.is_none() || this.body.is_end_stream() {
            this.ending = None;
        }
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
