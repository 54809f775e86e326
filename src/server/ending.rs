//! When and how the server ends a connection that does not end by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::opening::Opened;
use super::places::Place;
use super::resets::ResetBudget;
use crate::service::ConnectionRoom;

/// Time for a connection that is to end for its own sake to hear so.
const CUT_OFF_TIME: Duration = Duration::from_secs(1);
/// The same for one whose place is another's already.
const LEAVING_TIME: Duration = Duration::from_millis(20);
/// How long a connection has that was let in for a question about health.
const HEALTH_TIME: Duration = Duration::from_secs(2);
/// How often a connection is looked over: for how long it is idle, and whether its client reads.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// An action on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Say that it ends, take no more requests, and end with those under way.
    Close,
    /// End at once.
    End,
}

/// The watched properties of a connection.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) place: Option<Place>,
    pub(super) resets: Arc<ResetBudget>,
    pub(super) room: Arc<ConnectionRoom>,
    pub(super) opened: Opened,
}

/// The end of one connection.
#[derive(Debug)]
pub(super) struct Ending {
    watched: Watched,
    closing: CancellationToken,
    idle_timeout: Duration,
    began: Instant,
    look: Interval,
    /// Until then it must have said which HTTP it speaks; `None` once that was looked at.
    opening: Option<Instant>,
    /// It has been told to end, and is cut off then.
    cut_off_at: Option<Instant>,
    is_closing: bool,
}

impl Ending {
    pub(super) fn new(
        watched: Watched,
        closing: CancellationToken,
        header_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        let is_for_health = watched.place.as_ref().is_some_and(Place::is_for_health);
        let pause = if is_for_health { HEALTH_TIME } else { LOOK_INTERVAL };
        let mut look = interval(pause.min(idle_timeout));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let opening = Some(began + header_timeout);
        Self {
            watched,
            closing,
            idle_timeout,
            began,
            look,
            opening,
            cut_off_at: None,
            is_closing: false,
        }
    }

    /// The next step, once it is to be taken. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Step {
        loop {
            let Watched { place, resets, room, opened } = &self.watched;
            let is_cut_off = self.cut_off_at.is_some();
            let time_left = tokio::select! {
                () = self.closing.cancelled(), if !self.is_closing => {
                    self.is_closing = true;
                    return Step::Close;
                }
                () = resets.exceeded(), if !is_cut_off => {
                    tracing::info!("a connection resets too many calls: closing it");
                    CUT_OFF_TIME
                }
                () = given_up(place.as_ref()), if !is_cut_off => LEAVING_TIME,
                () = until(self.cut_off_at) => return Step::End,
                () = until(self.opening) => {
                    self.opening = None;
                    if opened.is_true() {
                        continue;
                    }
                    tracing::debug!("a connection said nothing");
                    return Step::End;
                }
                _ = self.look.tick() => {
                    if room.is_stalled() {
                        tracing::info!("a client does not read its responses: closing the connection");
                        return Step::End;
                    }
                    if is_cut_off || !self.is_over() {
                        continue;
                    }
                    CUT_OFF_TIME
                }
            };
            self.cut_off_at = Some(Instant::now() + time_left);
            return Step::Close;
        }
    }

    /// Whether it has been here for as long as it may. One within the process may stay.
    fn is_over(&self) -> bool {
        let Some(place) = &self.watched.place else { return false };
        place.is_for_health() && self.began.elapsed() >= HEALTH_TIME
            || place.idle_for().is_some_and(|idle| idle >= self.idle_timeout)
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Returns when the connection's place is another's.
async fn given_up(place: Option<&Place>) {
    match place {
        Some(place) => place.given_up().await,
        None => std::future::pending().await,
    }
}
