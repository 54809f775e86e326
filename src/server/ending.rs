//! When and how the server ends a connection that does not end by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::opening::Opened;
use super::places::Place;
use super::resets::ResetBudget;
use crate::service::ConnectionRoom;

/// How long a connection that must end has to notice that.
const CUT_OFF_TIME: Duration = Duration::from_secs(1);
/// The same, if its place has been given to another connection.
const LEAVING_TIME: Duration = Duration::from_millis(20);
/// How long a connection may last that was accepted for health checks only.
const HEALTH_TIME: Duration = Duration::from_secs(2);
/// How often a connection is checked: how long it has been idle, and whether its client reads.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// An action on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Announce the end, accept no more requests, and end with the running ones.
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

/// Decides when one connection ends.
#[derive(Debug)]
pub(super) struct Ending {
    watched: Watched,
    closing: CancellationToken,
    idle_timeout: Duration,
    began: Instant,
    look: Interval,
    /// The time by which it must have shown its HTTP version; `None` once that was checked.
    opening: Option<Instant>,
    /// When it is cut off, after its end was announced.
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

    /// Returns the next step when it is due. Dropping the future loses nothing.
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

    /// Whether its time is over. A connection within the process has no limit.
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

/// Returns when the connection's place has been given to another one.
async fn given_up(place: Option<&Place>) {
    match place {
        Some(place) => place.given_up().await,
        None => std::future::pending().await,
    }
}
