//! A watch on the screen: a progress bar at a terminal, lines anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;
use super::{describe, text};
use crate::proto::json;
use crate::proto::v1::watch_operation_response::Type;
use crate::proto::v1::{Event, Operation, Progress, WatchOperationResponse};

const REDRAW: Duration = Duration::from_millis(120);
const WITH_PERCENT: &str =
    "{spinner:.cyan} [{bar:30.cyan/dim}] {percent:>3} %  {elapsed}  {wide_msg}";
const WITHOUT_PERCENT: &str = "{spinner:.cyan} {elapsed}  {wide_msg}";

/// The display of a watch.
pub(super) struct Live<'a> {
    out: &'a Output,
    bar: Option<ProgressBar>,
}

impl<'a> Live<'a> {
    /// A bar at a terminal, lines otherwise.
    pub(super) fn new(out: &'a Output) -> Self {
        let bar = out.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
            set_style(&bar, false);
            bar.enable_steady_tick(REDRAW);
            bar
        });
        Self { out, bar }
    }

    /// Shows a message of a watch.
    pub(super) fn show(&self, message: &WatchOperationResponse) -> anyhow::Result<()> {
        if self.out.is_json() {
            return self.out.record(&json::to_value(message)?);
        }
        let Some(operation) = &message.operation else { return Ok(()) };
        match (message.r#type(), &operation.progress) {
            (Type::Progress, Some(progress)) => self.progress(operation, progress),
            (Type::Transition, _) => {
                let Some(event) = &message.event else { return Ok(()) };
                self.line(&transition(operation, event, self.out))
            }
            (Type::Snapshot, progress) => {
                self.line(&snapshot(operation, self.out))?;
                match progress {
                    Some(progress) if !operation.done => self.progress(operation, progress),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// A note for people, above the bar.
    pub(super) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.note(text)),
            None => self.out.note(text),
        }
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn progress(&self, operation: &Operation, progress: &Progress) -> anyhow::Result<()> {
        let Some(bar) = &self.bar else {
            let moment = text::time(progress.update_time.as_ref()).unwrap_or_else(text::now);
            let words = describe::progress(progress);
            return self.line(&line(moment, operation, &words, self.out));
        };
        let percent = describe::percent(progress);
        set_style(bar, percent.is_some());
        if let Some(percent) = percent {
            bar.set_position(percent as u64);
        }
        let rest = Progress { percent: None, ..progress.clone() };
        let units = match (rest.done_units, rest.total_units) {
            (Some(done), Some(total)) => format!("{done}/{total} "),
            (Some(done), None) => format!("{done} done "),
            (None, _) => String::new(),
        };
        bar.set_message(format!("{units}{}", text::clean(&rest.message)));
        Ok(())
    }

    /// A line that stays, above the bar.
    fn line(&self, line: &str) -> anyhow::Result<()> {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.line(line)),
            None => self.out.line(line),
        }
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A transition as a line.
pub(super) fn transition(operation: &Operation, event: &Event, out: &Output) -> String {
    let moment = text::time(event.time.as_ref()).unwrap_or_else(text::now);
    let mut words = describe::event(event) + &describe::next_try(operation, moment);
    let took = describe::took(operation, moment);
    if operation.done && !took.is_empty() {
        words.push_str(&format!(", after {took}"));
    }
    line(moment, operation, &words, out)
}

/// The present state of an operation as a line.
fn snapshot(operation: &Operation, out: &Output) -> String {
    let moment = text::time(operation.update_time.as_ref()).unwrap_or_else(text::now);
    let mut words = match (operation.attempt, operation.worker_id.as_str()) {
        (0, _) => text::clean(&operation.kind),
        (attempt, "") => format!("attempt {attempt}"),
        (attempt, worker) => format!("attempt {attempt} on {}", text::clean(worker)),
    };
    if let Some(error) = &operation.error {
        words.push_str(&format!(", {}", describe::one_line(error)));
    }
    line(moment, operation, &(words + &describe::next_try(operation, moment)), out)
}

/// `12:00:00  RUNNING     words`.
pub(super) fn line(
    moment: std::time::SystemTime,
    operation: &Operation,
    words: &str,
    out: &Output,
) -> String {
    let state = operation.state();
    let name = out.paint.state(state, &format!("{:<10}", describe::state_name(state)));
    format!("{}  {name}  {words}", out.paint.dim(&text::clock(moment)))
}

fn set_style(bar: &ProgressBar, with_percent: bool) {
    let template = if with_percent { WITH_PERCENT } else { WITHOUT_PERCENT };
    // The templates are constants; with a wrong one the bar has its default form.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [WITH_PERCENT, WITHOUT_PERCENT] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
