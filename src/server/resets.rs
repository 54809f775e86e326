//! Calls that a client takes back, counted for each connection.
//!
//! A client may give calls up: deadlines pass, and proxies carry many clients over one connection. A client that
//! opens calls only to reset them ("rapid reset") gets around the limit of concurrent streams. Neither can be told
//! from one reset, so a connection has a budget of them, which complete calls and time refill.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Resets that may come at once: of every call that a connection can have.
const BURST: u64 = super::MAX_CONCURRENT_STREAMS as u64;
/// Resets per second that a connection may go on with, beside one for each call that is complete.
const PER_SECOND: u64 = 100;

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct ResetBudget {
    spent: Mutex<Spent>,
    exceeded: CancellationToken,
}

#[derive(Debug)]
struct Spent {
    resets: u64,
    /// `resets` is as of this time.
    at: Instant,
}

impl ResetBudget {
    pub(super) fn new() -> Arc<Self> {
        let spent = Mutex::new(Spent { resets: 0, at: Instant::now() });
        Arc::new(Self { spent, exceeded: CancellationToken::new() })
    }

    /// Returns once there were more resets than the budget allows.
    pub(super) async fn exceeded(&self) {
        self.exceeded.cancelled().await;
    }

    fn refill(&self) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.resets = spent.resets.saturating_sub(1);
    }

    fn spend(&self, now: Instant) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = u64::try_from(now.duration_since(spent.at).as_millis()).unwrap_or(u64::MAX);
        let refilled = millis.saturating_mul(PER_SECOND) / 1_000;
        if refilled > 0 {
            *spent = Spent { resets: spent.resets.saturating_sub(refilled), at: now };
        }
        spent.resets += 1;
        if spent.resets > BURST {
            self.exceeded.cancel();
        }
    }
}

/// A call under way. Dropped before its response is complete, it counts as reset.
#[derive(Debug)]
pub(super) struct Call {
    budget: Arc<ResetBudget>,
    is_complete: bool,
}

impl Call {
    pub(super) fn new(budget: &Arc<ResetBudget>) -> Self {
        Self { budget: Arc::clone(budget), is_complete: false }
    }

    /// The body, whose end completes the call if it `has_end`, as that of a response to HEAD has not: nobody reads it.
    pub(super) fn body(mut self, body: Body, has_end: bool) -> Counted {
        self.is_complete = !has_end || body.is_end_stream();
        Counted { body, call: self }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match self.is_complete {
            true => self.budget.refill(),
            false => self.budget.spend(Instant::now()),
        }
    }
}

/// A response body that completes its call.
#[derive(Debug)]
pub(super) struct Counted {
    body: Body,
    call: Call,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let goes_on = matches!(&frame, Some(Ok(frame)) if frame.is_data());
        self.call.is_complete |= !goes_on || self.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_allowed_and_time_refills_the_budget() {
        let budget = ResetBudget::new();
        let mut now = Instant::now();
        for _ in 0..5 {
            (0..BURST / 2).for_each(|_| budget.spend(now));
            now += Duration::from_millis(BURST * 1_000 / PER_SECOND / 2);
        }
        assert!(!budget.exceeded.is_cancelled());
        (0..=BURST).for_each(|_| budget.spend(now));
        assert!(budget.exceeded.is_cancelled());
    }

    #[tokio::test]
    async fn only_calls_without_a_complete_response_count() {
        let budget = ResetBudget::new();
        let spent = || budget.spent.lock().unwrap().resets;
        drop(Call::new(&budget).body(Body::from("sent"), true));
        drop(Call::new(&budget));
        assert_eq!(spent(), 2);
        drop(Call::new(&budget).body(Body::empty(), true));
        assert_eq!(spent(), 1, "a complete call makes up for one that was not");
        drop(Call::new(&budget).body(Body::from("not sent"), false));
        assert_eq!(spent(), 0);
        for (has_end, resets) in [(true, 1), (false, 0)] {
            let parts = tokio_stream::iter(["a", "b"].map(Ok::<_, Infallible>));
            let mut body = Call::new(&budget).body(Body::from_stream(parts), has_end);
            poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
            drop(body);
            assert_eq!(spent(), resets);
        }
    }
}
