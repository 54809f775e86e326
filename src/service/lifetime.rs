//! The lifetime of a long call: heartbeats during silence, and a resumable end at a certain age, at the call's deadline,
//! and when the server stops.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, ReusableBoxFuture};

use super::Service;
use crate::engine::{Clock, Moment};

/// When a long call must send a heartbeat, and when it must end although more is to come.
#[derive(Debug)]
pub struct Lifetime {
    clock: Arc<dyn Clock>,
    heartbeat_interval: Duration,
    silent_since: Moment,
    ends_at: Moment,
    closing: CancellationToken,
    /// Fires when the call may have to send a heartbeat or end. It is set when the call first waits and left alone
    /// while the call sends, because a timer for each message would cost more than the message.
    alarm: Option<ReusableBoxFuture<'static, ()>>,
}

/// What to do after a pause in a long call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Send a heartbeat.
    Heartbeat,
    /// End the call, to be resumed.
    End,
}

impl Lifetime {
    /// The lifetime of a call that begins now. `timeout` is the call's own deadline.
    pub(super) fn new(service: &Service, timeout: Option<Duration>) -> Self {
        let clock = Arc::clone(service.engine.clock());
        let now = clock.moment();
        // Spread by a fifth either way, so that watches that began together do not resume together.
        let age = service.limits.max_stream_age.mul_f64(0.8 + 0.4 * fastrand::f64());
        Self {
            heartbeat_interval: service.limits.heartbeat_interval,
            silent_since: now,
            ends_at: now.after(timeout.map_or(age, |timeout| timeout.min(age))),
            closing: service.closing.clone(),
            clock,
            alarm: None,
        }
    }

    /// Whether the call has lasted long enough. A call that always has something to send must ask, because it never
    /// waits in [`Lifetime::pause`].
    pub fn is_over(&self) -> bool {
        self.closing.is_cancelled() || self.ends_at <= self.clock.moment()
    }

    /// Returns when a heartbeat is due, or the call must end. Dropping the future loses nothing.
    pub async fn pause(&mut self) -> Pause {
        loop {
            let heartbeat_at = self.silent_since.after(self.heartbeat_interval);
            if self.is_over() {
                return Pause::End;
            }
            if heartbeat_at <= self.clock.moment() {
                return Pause::Heartbeat;
            }
            // The silence can only end later than expected when the alarm was set.
            let alarm = self.alarm.get_or_insert_with(|| {
                let (clock, closing) = (Arc::clone(&self.clock), self.closing.clone());
                let at = heartbeat_at.min(self.ends_at);
                ReusableBoxFuture::new(async move {
                    tokio::select! {
                        () = closing.cancelled() => {}
                        () = clock.sleep_until_moment(at) => {}
                    }
                })
            });
            alarm.await;
            self.alarm = None;
        }
    }

    /// Notes that a message was sent.
    pub fn spoke(&mut self) {
        self.silent_since = self.clock.moment();
    }
}

impl Service {
    /// How long a client whose stream has ended should wait before it reconnects, unless it decides itself. Spread, so
    /// that clients that a restart has disconnected together do not return together.
    pub fn reconnect_delay(&self) -> Duration {
        Duration::from_millis(fastrand::u64(1_000..3_000))
    }

    /// The lifetime of a worker's stream: the server sends as many heartbeats as it expects.
    pub fn worker_lifetime(&self) -> Lifetime {
        let mut lifetime = Lifetime::new(self, None);
        lifetime.heartbeat_interval =
            lifetime.heartbeat_interval.min(self.limits.worker_heartbeat_interval());
        lifetime
    }
}
