//! Collects progress for a watch over a filter for a moment, and keeps each operation's latest report.

use std::sync::Arc;
use std::time::Duration;

use super::super::clock::Moment;
use crate::operation::Operation;

/// How long progress is collected.
const INTERVAL: Duration = Duration::from_millis(250);
/// The maximum number of operations at once; the others' progress is delivered with their next report.
const MOST: usize = 1_000;

#[derive(Debug)]
pub(super) struct Gathered {
    latest: Vec<Arc<Operation>>,
    due: Moment,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { latest: Vec::new(), due: Moment::MAX }
    }
}

impl Gathered {
    pub(super) fn add(&mut self, operation: Arc<Operation>, now: Moment) {
        let same = self.latest.iter_mut().find(|known| known.id() == operation.id());
        if let Some(known) = same {
            *known = operation;
        } else if self.latest.len() < MOST {
            self.latest.push(operation);
        }
        self.due = self.due.min(now.after(INTERVAL));
    }

    /// When to deliver; [`Moment::MAX`] if there is nothing.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    pub(super) fn take(&mut self) -> Vec<Arc<Operation>> {
        std::mem::take(self).latest
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{at, id, operation};
    use super::*;

    #[test]
    fn the_latest_of_each_is_due_an_interval_after_the_first() {
        let moment = |millis| Moment::new(Duration::from_millis(millis));
        let mut gathered = Gathered::default();
        assert_eq!(gathered.due(), Moment::MAX);
        for (number, seconds) in [(1, 1), (2, 2), (1, 3)] {
            gathered.add(Arc::new(operation(number, at(seconds))), moment(100 * seconds as u64));
        }
        assert_eq!(gathered.due(), moment(350));
        let taken = gathered.take();
        let created: Vec<_> = taken.iter().map(|it| (it.id(), it.submission.created_at)).collect();
        assert_eq!(created, [(id(1), at(3)), (id(2), at(2))]);
        assert_eq!(gathered.due(), Moment::MAX);
        (1..=MOST as u128 + 1)
            .for_each(|it| gathered.add(Arc::new(operation(it, at(1))), moment(1)));
        assert_eq!(gathered.take().len(), MOST);
    }
}
