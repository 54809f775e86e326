//! Progress over time: how far operations had come at which time, as this server saw it.
//!
//! It is for people, in memory and bounded: the points of an operation are thinned out, and the operations that began to
//! report first are forgotten first. A restart forgets all.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::operation::{Attempt, OperationId, Progress, Timestamp};

/// The maximum number of points of an operation.
const MOST_POINTS: usize = 64;
/// The maximum number of operations: 2 MiB.
const MOST: usize = 1_024;

/// How far an attempt had come at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoursePoint {
    /// When the report was received.
    pub at: Timestamp,
    /// The attempt.
    pub attempt: Attempt,
    /// From 0 to 100.
    pub percent: f64,
}

/// The points of operations that report how far they are.
#[derive(Debug, Default)]
pub(super) struct Courses {
    of: HashMap<OperationId, Course>,
    /// The same operations in the order of their first reports.
    order: VecDeque<OperationId>,
}

/// The points of one operation.
#[derive(Debug, Default)]
struct Course {
    points: Vec<CoursePoint>,
    /// The least time between two points of an attempt.
    spacing: Duration,
}

impl Courses {
    /// Notes a report, unless it does not say how far the attempt is.
    pub(super) fn note(&mut self, id: OperationId, attempt: Attempt, progress: &Progress) {
        let Some(percent) = progress.percent_done() else { return };
        let course = self.of.entry(id).or_default();
        if course.points.is_empty() {
            self.order.push_back(id);
        }
        course.add(CoursePoint { at: progress.at, attempt, percent });
        if self.order.len() > MOST
            && let Some(first) = self.order.pop_front()
        {
            self.of.remove(&first);
        }
    }

    /// The points of an operation, oldest first.
    pub(super) fn of(&self, id: OperationId) -> Vec<CoursePoint> {
        self.of.get(&id).map(|course| course.points.clone()).unwrap_or_default()
    }
}

impl Course {
    fn add(&mut self, point: CoursePoint) {
        // The latest point is always exact; those before it are at least so far apart.
        let is_crowded = match self.points.as_slice() {
            [.., before, last] => {
                last.attempt == point.attempt
                    && before.attempt == point.attempt
                    && last.at.since(before.at) < self.spacing
            }
            _ => false,
        };
        match self.points.last_mut().filter(|_| is_crowded) {
            Some(last) => *last = point,
            None => self.points.push(point),
        }
        if self.points.len() > MOST_POINTS {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        let mut number = 0;
        let last = self.points.len() - 1;
        self.points.retain(|_| {
            number += 1;
            number % 2 == 1 || number > last
        });
        let whole = match self.points.as_slice() {
            [first, .., last] => last.at.since(first.at),
            _ => Duration::ZERO,
        };
        self.spacing = whole / (MOST_POINTS as u32 / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, id};
    use super::*;

    fn report(second: i64, done: i64, total: i64) -> Progress {
        Progress {
            percent: None,
            done_units: Some(done),
            total_units: Some(total),
            message: String::new(),
            at: at(second),
        }
    }

    #[test]
    fn a_long_course_is_thinned_out_and_ends_with_the_latest_report() {
        let mut courses = Courses::default();
        for second in 0..10_000 {
            courses.note(id(1), Attempt(1), &report(second, second, 10_000));
        }
        let points = courses.of(id(1));
        assert!((MOST_POINTS / 4..=MOST_POINTS).contains(&points.len()), "{}", points.len());
        assert_eq!((points[0].at, points[points.len() - 1].at), (at(0), at(9_999)));
        let gaps = points.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs());
        assert!(gaps.clone().max() < Some(800), "{:?}", gaps.collect::<Vec<_>>());
        assert_eq!(points[points.len() - 1].percent, 99.99);
    }

    #[test]
    fn the_first_operations_are_forgotten_first() {
        let mut courses = Courses::default();
        for number in 0..=MOST as u128 {
            courses.note(id(number), Attempt(1), &report(1, 1, 2));
        }
        assert_eq!((courses.of(id(0)).len(), courses.of(id(1)).len()), (0, 1));
        assert_eq!((courses.of.len(), courses.order.len()), (MOST, MOST));
        let words = Progress { total_units: None, ..report(1, 1, 1) };
        courses.note(id(9_999), Attempt(1), &words);
        assert_eq!(courses.of(id(9_999)), []);
    }
}
