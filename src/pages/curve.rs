//! Progress over time, drawn on the scale of the timeline.

use serde::Serialize;

use crate::operation::Timestamp;
use crate::service::CoursePoint;

/// The height of the drawing, in pixels.
pub(super) const HEIGHT: usize = 40;
/// The fewest points that are drawn.
const FEWEST: usize = 2;

/// The drawing: lines in a square of 100 by 100, which is stretched.
#[derive(Debug, Serialize)]
pub(super) struct Curve {
    /// The distance from the top, in pixels.
    pub(super) y: usize,
    /// The vertical position of its text, in pixels.
    pub(super) text_at: usize,
    height: usize,
    /// One line for each attempt: `0,100 50,20`.
    lines: Vec<String>,
    pub(super) text: String,
}

impl Curve {
    /// The drawing of `course` below `top`, if there is enough to draw. `place` has the place of a time in percent of the
    /// width; what is outside is not drawn.
    pub(super) fn of(
        course: &[CoursePoint],
        top: usize,
        place: impl Fn(Timestamp) -> Option<f64>,
    ) -> Option<Self> {
        let attempts = course.chunk_by(|a, b| a.attempt == b.attempt);
        let line = |points: &[CoursePoint]| {
            let points = points.iter().filter_map(|point| {
                Some(format!("{:.2},{:.1}", place(point.at)?, 100.0 - point.percent))
            });
            let points: Vec<String> = points.collect();
            (points.len() >= FEWEST).then(|| points.join(" "))
        };
        let lines: Vec<String> = attempts.filter_map(line).collect();
        let last = course.last().filter(|_| !lines.is_empty())?;
        Some(Self {
            y: top + 18,
            text_at: top + 12,
            height: HEIGHT,
            lines,
            text: format!("Progress · {} %", last.percent.floor()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Attempt;

    #[test]
    fn each_attempt_is_a_line() {
        let point = |second: i64, attempt, percent| CoursePoint {
            at: Timestamp::from_micros(second * 1_000_000),
            attempt: Attempt(attempt),
            percent,
        };
        let course = [point(0, 1, 0.0), point(50, 1, 80.0), point(60, 2, 1.0), point(100, 2, 99.6)];
        let place = |at: Timestamp| Some(at.micros() as f64 / 1e6).filter(|it| *it >= 0.0);
        let curve = Curve::of(&course, 10, place).unwrap();
        assert_eq!(curve.lines, ["0.00,100.0 50.00,20.0", "60.00,99.0 100.00,0.4"]);
        assert_eq!((curve.y, &*curve.text), (28, "Progress · 99 %"));
        // One point is no line.
        assert!(Curve::of(&course[1..3], 0, place).is_none() && Curve::of(&[], 0, place).is_none());
    }
}
