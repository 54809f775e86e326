//! An operation's transitions, drawn to scale: a lane for each attempt with its wait before it.

use std::time::Duration;

use serde::Serialize;

use super::curve::{self, Curve};
use super::view::{Badge, When};
use crate::operation::{Event, EventType, Outcome, State, StateName, Timestamp};
use crate::service::CoursePoint;
use crate::words;

/// The maximum number of attempts that are drawn, the last ones.
const MAX_LANES: usize = 12;
/// The maximum number of steps that are listed, the last ones.
pub(super) const MAX_STEPS: usize = 300;
/// The height of a lane, in pixels: a line of text and a bar below it.
const LANE: usize = 36;
/// The space above the first lane, in pixels.
const TOP: usize = 4;
/// The height of the scale below the last lane, in pixels.
const SCALE: usize = 22;
/// The narrowest bar, in percent.
const NARROWEST: f64 = 0.25;

/// A transition, as pages show it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    pub(super) revision: u64,
    pub(super) when: When,
    pub(super) state: Badge,
    attempt: u64,
    worker: Option<String>,
    text: String,
    #[serde(skip)]
    at: Timestamp,
    #[serde(skip)]
    name: StateName,
    #[serde(skip)]
    event: EventType,
}

/// The drawing.
#[derive(Debug, Default, Serialize)]
pub(super) struct Timeline {
    height: usize,
    lanes: Vec<Lane>,
    /// Progress over time, if there are reports.
    curve: Option<Curve>,
    ticks: Vec<Tick>,
    /// The scale's distance from the top, in pixels.
    scale: usize,
    /// How many attempts are not drawn.
    left_out: usize,
    /// A description in words, for people who cannot see the drawing.
    words: String,
}

#[derive(Debug, Default, Serialize)]
struct Lane {
    /// The vertical position of its text.
    text_at: usize,
    text: String,
    bars: Vec<Bar>,
}

#[derive(Debug, Serialize)]
struct Bar {
    /// In percent of the width.
    x: f64,
    width: f64,
    y: usize,
    tone: &'static str,
    title: String,
}

#[derive(Debug, Serialize)]
struct Tick {
    x: f64,
    text: String,
    /// The text's alignment: `start`, `middle` or `end`.
    anchor: &'static str,
}

impl Step {
    pub(super) fn of(event: &Event, now: Option<Timestamp>) -> Self {
        let life = &event.life;
        Self {
            revision: life.revision.0,
            when: When::new(life.updated_at, now),
            state: Badge::of(event.state()),
            attempt: life.attempt.0.into(),
            worker: life.worker.as_ref().map(ToString::to_string),
            text: said(event),
            at: life.updated_at,
            name: event.state(),
            event: event.event_type,
        }
    }

    /// The style of the time in this state, which ended with `next`.
    fn tone(&self, next: Option<&Self>) -> &'static str {
        match next {
            _ if self.name == StateName::Queued => self.state.tone,
            Some(next) if next.name.is_done() => next.state.tone,
            Some(next) if next.event == EventType::RetryScheduled => "failed",
            _ => self.state.tone,
        }
    }
}

/// A transition in words.
fn said(event: &Event) -> String {
    let (life, attempt) = (&event.life, event.life.attempt.0);
    let on = life.worker.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
    let failed = |error: &crate::operation::OperationError| {
        let text: String = error.message.chars().take(200).collect();
        format!("{}: {text}", error.code)
    };
    match event.event_type {
        EventType::Submitted => "submitted".to_owned(),
        EventType::Started => format!("attempt {attempt} started{on}"),
        EventType::RetryScheduled => {
            let why = life.last_error.as_ref().map(failed).unwrap_or_default();
            format!("attempt {attempt} failed, another follows. {why}")
        }
        EventType::Released => format!("attempt {attempt} given back{on}"),
        EventType::CancelRequested => match life.cancel.as_ref().map(|it| it.reason.as_str()) {
            None | Some("") => "cancel requested".to_owned(),
            Some(reason) => format!("cancel requested: {reason}"),
        },
        EventType::StartRequested => "asked to run now".to_owned(),
        EventType::Finished => match &life.state {
            State::Done { outcome: Outcome::Failed { error }, .. } => failed(error),
            State::Done { outcome: Outcome::Cancelled { error }, .. } => failed(error),
            _ => "done".to_owned(),
        },
    }
}

impl Timeline {
    /// The drawing of these steps, up to `now` unless the last one is terminal, and of progress over time below them.
    pub(super) fn of(steps: &[Step], course: &[CoursePoint], now: Timestamp) -> Self {
        let Some(last) = steps.last() else { return Self::default() };
        let end = if last.name.is_done() { last.at } else { now.max(last.at) };
        let mut lanes: Vec<(u64, Vec<Stretch<'_>>)> = Vec::new();
        for (at, step) in steps.iter().enumerate().filter(|(_, step)| !step.name.is_done()) {
            let until = steps.get(at + 1).map_or(end, |next| next.at);
            let tone = step.tone(steps.get(at + 1));
            let stretch = Stretch { from: step.at, to: until, step, tone };
            // A queued operation waits for its next attempt.
            let lane = step.attempt + u64::from(step.name == StateName::Queued);
            match lanes.last_mut().filter(|(number, _)| *number == lane) {
                Some((_, parts)) => parts.push(stretch),
                None => lanes.push((lane, vec![stretch])),
            }
        }
        let left_out = lanes.len().saturating_sub(MAX_LANES);
        lanes.drain(..left_out);
        let begin = lanes.first().map_or(last.at, |(_, parts)| parts[0].from);
        let whole = end.since(begin).max(Duration::from_millis(1));
        let place = |at: Timestamp| 100.0 * at.since(begin).as_secs_f64() / whole.as_secs_f64();
        let drawn = lanes.into_iter().enumerate().map(|(row, (number, parts))| {
            let bar = |&Stretch { from, to, step, tone }: &Stretch<'_>| {
                let width = (place(to) - place(from)).max(NARROWEST);
                Bar {
                    x: place(from).min(100.0 - NARROWEST),
                    width,
                    y: TOP + row * LANE + 18,
                    tone,
                    title: format!("{} {}", step.state.text, words::duration(to.since(from))),
                }
            };
            Lane {
                text_at: TOP + row * LANE + 12,
                text: lane_text(number, &parts),
                bars: parts.iter().map(bar).collect(),
            }
        });
        let lanes: Vec<Lane> = drawn.collect();
        let below = TOP + lanes.len() * LANE;
        let within = |at| Some(place(at)).filter(|_| at >= begin && at <= end);
        let curve = Curve::of(course, below, within);
        let drawn = curve.as_ref().map_or(0, |_| LANE - 10 + curve::HEIGHT);
        let scale = below + drawn + SCALE - 6;
        let words = format!("{} in {}", steps.len(), words::duration(whole));
        Self { height: scale + 6, lanes, curve, ticks: ticks(whole), scale, left_out, words }
    }
}

/// A time in one state.
#[derive(Clone, Copy, Debug)]
struct Stretch<'a> {
    from: Timestamp,
    to: Timestamp,
    step: &'a Step,
    tone: &'static str,
}

impl Stretch<'_> {
    fn is_wait(&self) -> bool {
        self.step.name == StateName::Queued
    }
}

/// `Attempt 2 · waited 1.2 s, ran 40 s`.
fn lane_text(number: u64, parts: &[Stretch<'_>]) -> String {
    let sum = |is_wait: bool| {
        let those = parts.iter().filter(|it| it.is_wait() == is_wait);
        those.fold(None, |sum: Option<Duration>, it| {
            Some(sum.unwrap_or_default() + it.to.since(it.from))
        })
    };
    let waited = sum(true).map(|it| format!("waited {}", words::duration(it)));
    let ran = sum(false).map(|it| format!("ran {}", words::duration(it)));
    let both: Vec<String> = waited.into_iter().chain(ran).collect();
    let worker = parts.iter().rev().find(|it| !it.is_wait());
    let worker = worker.and_then(|it| it.step.worker.as_deref());
    let worker = worker.map(|worker| format!(" · {worker}")).unwrap_or_default();
    format!("Attempt {number}{worker} · {}", both.join(", "))
}

/// Round values on a scale of this length.
fn ticks(whole: Duration) -> Vec<Tick> {
    /// The maximum number of ticks.
    const MOST: u128 = 6;
    const STEPS: [u64; 27] = [
        1,
        2,
        5,
        10,
        20,
        50,
        100,
        200,
        500,
        1_000,
        2_000,
        5_000,
        10_000,
        15_000,
        30_000,
        60_000,
        120_000,
        300_000,
        600_000,
        1_800_000,
        3_600_000,
        7_200_000,
        21_600_000,
        43_200_000,
        86_400_000,
        604_800_000,
        2_592_000_000,
    ];
    let millis = whole.as_millis();
    let step = STEPS.into_iter().find(|step| millis / u128::from(*step) < MOST);
    let step = step.unwrap_or(31_536_000_000);
    let count = u64::try_from(millis / u128::from(step)).unwrap_or(0).min(64);
    let ticks = (0..=count).map(|number| {
        let at = number * step;
        let x = 100.0 * Duration::from_millis(at).as_secs_f64() / whole.as_secs_f64();
        let anchor = match x {
            x if x < 1.0 => "start",
            x if x > 96.0 => "end",
            _ => "middle",
        };
        let text =
            if at == 0 { "0".to_owned() } else { words::duration(Duration::from_millis(at)) };
        Tick { x, text, anchor }
    });
    ticks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(second: i64, name: StateName, attempt: u64) -> Step {
        let at = Timestamp::from_micros(second * 1_000_000);
        let (state, when) = (Badge::of(name), When::new(at, None));
        let (event, text) = (EventType::Started, String::new());
        Step { revision: 1, when, state, attempt, worker: None, text, at, name, event }
    }

    #[test]
    fn attempts_are_lanes_to_scale() {
        use StateName::{Queued, Running, Succeeded};
        let steps = [
            step(0, Queued, 0),
            step(10, Running, 1),
            step(30, Queued, 1),
            step(40, Running, 2),
            step(100, Succeeded, 2),
        ];
        let drawn = Timeline::of(&steps, &[], Timestamp::from_micros(999_000_000));
        let bars: Vec<Vec<(f64, f64)>> = drawn
            .lanes
            .iter()
            .map(|lane| lane.bars.iter().map(|bar| (bar.x.round(), bar.width.round())).collect())
            .collect();
        assert_eq!(bars, [[(0.0, 10.0), (10.0, 20.0)], [(30.0, 10.0), (40.0, 60.0)]]);
        assert_eq!(drawn.lanes[1].text, "Attempt 2 · waited 10 s, ran 1 m");
        let ticks: Vec<&str> = drawn.ticks.iter().map(|tick| &*tick.text).collect();
        assert_eq!(ticks, ["0", "30 s", "1 m", "1 m 30 s"]);
        let open = Timeline::of(&steps[..2], &[], Timestamp::from_micros(20_000_000));
        assert_eq!(open.lanes[0].bars[1].width.round(), 50.0);
        let many: Vec<Step> = (0..40).map(|it| step(it, Running, it.unsigned_abs())).collect();
        let many = Timeline::of(&many, &[], Timestamp::from_micros(50_000_000));
        assert_eq!((many.lanes.len(), many.left_out), (MAX_LANES, 40 - MAX_LANES));
        assert_eq!(Timeline::of(&[], &[], Timestamp::from_micros(0)).height, 0);
    }
}
