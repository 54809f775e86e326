//! When to measure and when to report.

use std::time::Duration;

use tokio::time::Instant;

use super::super::output::Output;
use super::args::Span;
use super::report;
use super::tally::{Measured, Moment, Tally};

/// Later than anything here happens.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// When the measurement begins, when the next report is due, and when the measurement ends.
pub(super) struct Log {
    begins: Instant,
    ends: Option<Instant>,
    interval: Option<Duration>,
    /// Once the measurement has begun: its first moment, and that of the last report.
    told: Option<(Moment, Moment)>,
    next_line: Option<Instant>,
}

impl Log {
    pub(super) fn new(began: Instant, span: &Span) -> Self {
        let begins = began + span.warmup();
        Self {
            begins,
            ends: span.count.is_none().then(|| begins + span.duration),
            interval: span.interval,
            told: None,
            next_line: None,
        }
    }

    /// When to call `tick` again.
    pub(super) fn next(&self) -> Instant {
        let far = || self.begins + FAR;
        match self.told {
            None => self.begins,
            Some(_) => [self.ends, self.next_line].into_iter().flatten().min().unwrap_or_else(far),
        }
    }

    /// Does what is due. Returns whether the measurement is over.
    pub(super) fn is_over(&mut self, tally: &Tally, out: &Output) -> anyhow::Result<bool> {
        let now = Instant::now();
        let Some((_, told)) = &mut self.told else {
            let first = tally.moment();
            self.told = Some((first.clone(), first));
            self.next_line = self.interval.map(|interval| now + interval);
            return Ok(false);
        };
        if let (Some(due), Some(interval)) = (self.next_line, self.interval)
            && due <= now
        {
            let moment = tally.moment();
            report::interval(now - self.begins, &moment.since(told), out)?;
            *told = moment;
            self.next_line = Some(due + interval);
        }
        Ok(self.ends.is_some_and(|ends| ends <= now))
    }

    /// All of it up to now.
    pub(super) fn measured(self, tally: &Tally) -> Measured {
        let last = tally.moment();
        let first = self.told.map_or_else(|| last.clone(), |(first, _)| first);
        last.since(&first)
    }
}
