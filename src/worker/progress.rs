//! Progress of attempts: only the latest report of each counts, and nothing queues up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::attempt_key::AttemptKey;
use super::outcome::cut;
use crate::proto::v1;

/// The maximum length of a message, in characters.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// An attempt's progress. Every part is optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    percent: Option<f64>,
    units: Option<(i64, i64)>,
    done_units: Option<i64>,
    message: String,
}

impl Progress {
    /// A percentage, clamped to the range from 0 to 100.
    pub fn percent(percent: f64) -> Self {
        let percent = percent.is_finite().then(|| percent.clamp(0.0, 100.0));
        Self { percent, ..Self::default() }
    }

    /// Units of work: done, and in total.
    pub fn units(done: i64, total: i64) -> Self {
        Self { units: Some((done.max(0), total.max(0))), ..Self::default() }
    }

    /// Units of work done, if the total is unknown.
    pub fn done(done: i64) -> Self {
        Self { done_units: Some(done.max(0)), ..Self::default() }
    }

    /// The current step, for people.
    pub fn message(message: impl Into<String>) -> Self {
        Self::default().with_message(message)
    }

    /// Adds a percentage.
    pub fn with_percent(self, percent: f64) -> Self {
        Self { percent: Self::percent(percent).percent, ..self }
    }

    /// Adds a message; beyond 1,000 characters it is cut.
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        if let Some((end, _)) = self.message.char_indices().nth(MAX_MESSAGE_CHARS) {
            cut(&mut self.message, end);
        }
        self
    }

    pub(super) fn into_proto(self) -> v1::Progress {
        v1::Progress {
            percent: self.percent,
            done_units: self.units.map(|(done, _)| done).or(self.done_units),
            total_units: self.units.map(|(_, total)| total),
            message: self.message,
            update_time: None,
        }
    }
}

/// Progress that has not been sent yet: at most one report per attempt.
#[derive(Debug, Default)]
pub(super) struct ProgressBoard {
    latest: Mutex<HashMap<AttemptKey, v1::Progress>>,
    changed: Notify,
}

impl ProgressBoard {
    /// Replaces the attempt's previous report.
    pub(super) fn put(&self, key: &AttemptKey, progress: v1::Progress) {
        self.lock().insert(key.clone(), progress);
        self.changed.notify_one();
    }

    /// Puts back a report that may have been lost on its way, unless there is a newer one.
    pub(super) fn put_back(&self, key: &AttemptKey, progress: v1::Progress) {
        self.lock().entry(key.clone()).or_insert(progress);
        self.changed.notify_one();
    }

    /// Waits until a report was put.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes one attempt's report.
    pub(super) fn take(&self, key: &AttemptKey) -> Option<v1::Progress> {
        self.lock().remove(key)
    }

    /// Takes every report.
    pub(super) fn take_all(&self) -> HashMap<AttemptKey, v1::Progress> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptKey, v1::Progress>> {
        // The map is consistent even after a panic, because reports are replaced as a whole.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
