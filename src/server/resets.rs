//! Counts reset calls for each connection.
//!
//! Clients may cancel calls: deadlines pass, and proxies carry many clients over one connection. A client that opens
//! calls only to reset them ("rapid reset") bypasses the limit of concurrent streams. A single reset does not
//! distinguish the two, so a connection has a budget of resets, which completed calls and time refill. A stream whose
//! response has begun counts as completed, because clients end watches by a reset.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many resets may come at once: one for each call that a connection can have.
const BURST: u64 = super::MAX_CONCURRENT_STREAMS as u64;
/// Resets per second that a connection may continue with, in addition to one for each completed call.
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
            // The rest of the time counts towards the next refill.
            let rest = Duration::from_millis(millis % (1_000 / PER_SECOND));
            let at = now.checked_sub(rest).unwrap_or(now);
            *spent = Spent { resets: spent.resets.saturating_sub(refilled), at };
        }
        spent.resets += 1;
        if spent.resets > BURST {
            self.exceeded.cancel();
        }
    }
}

/// A running call. If it is dropped before anything of its response was taken, it counts as reset.
#[derive(Debug)]
pub(super) struct Call {
    budget: Arc<ResetBudget>,
    is_answered: bool,
}

impl Call {
    pub(super) fn new(budget: &Arc<ResetBudget>) -> Self {
        Self { budget: Arc::clone(budget), is_answered: false }
    }

    /// The response's body, whose first piece completes the call; unless `is_read`, as for HEAD, it is complete now.
    pub(super) fn body<B: HttpBody>(mut self, body: B, is_read: bool) -> Counted<B> {
        self.is_answered = !is_read || body.is_end_stream();
        Counted { body, call: self }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match self.is_answered {
            true => self.budget.refill(),
            false => self.budget.spend(Instant::now()),
        }
    }
}

/// A response body whose first piece completes its call.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    call: Call,
}

impl<B: HttpBody + Unpin> HttpBody for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.call.is_answered = true;
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

    use axum::body::Body;

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

    #[test]
    fn no_time_is_lost_between_resets() {
        let budget = ResetBudget::new();
        let mut now = Instant::now();
        for _ in 0..1_000 {
            now += Duration::from_millis(11);
            budget.spend(now);
            assert!(budget.spent.lock().unwrap().resets <= 2);
        }
        // 1,000 resets in 9 seconds: a tenth more than are refilled.
        for _ in 0..1_000 {
            now += Duration::from_millis(9);
            budget.spend(now);
        }
        let resets = budget.spent.lock().unwrap().resets;
        assert!((90..110).contains(&resets), "{resets}");
    }

    #[tokio::test]
    async fn only_calls_without_an_answer_count() {
        let budget = ResetBudget::new();
        let spent = || budget.spent.lock().unwrap().resets;
        drop(Call::new(&budget).body(Body::from("sent"), true));
        drop(Call::new(&budget));
        assert_eq!(spent(), 2);
        drop(Call::new(&budget).body(Body::empty(), true));
        assert_eq!(spent(), 1, "a call that was answered makes up for one that was not");
        drop(Call::new(&budget).body(Body::from("not sent"), false));
        assert_eq!(spent(), 0);
        drop(Call::new(&budget));
        let parts = tokio_stream::iter(["a", "b"].map(Ok::<_, Infallible>));
        let mut body = Call::new(&budget).body(Body::from_stream(parts), true);
        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        drop(body);
        assert_eq!(spent(), 0, "a watch that was heard of may be ended");
    }
}
