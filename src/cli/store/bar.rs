//! The progress of a transfer on a terminal.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::output::Output;
use crate::transfer::{Progress, Stage};

const REDRAW: Duration = Duration::from_millis(120);
const OPERATIONS: &str =
    "{spinner:.cyan} {msg} [{bar:30.cyan/dim}] {human_pos}/{human_len} operations, {eta} left";
const BYTES: &str = "{spinner:.cyan} {msg} [{bar:30.cyan/dim}] {bytes}/{total_bytes}, {eta} left";
const OBJECTS: &str = "{spinner:.cyan} {msg}: {human_pos}";

/// A bar at a terminal, nothing elsewhere.
pub(super) struct Bar(Option<(ProgressBar, Mutex<Option<Stage>>)>);

impl Bar {
    pub(super) fn new(out: &Output) -> Self {
        Self(out.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            bar.enable_steady_tick(REDRAW);
            (bar, Mutex::default())
        }))
    }

    pub(super) fn show(&self, progress: Progress) {
        let Some((bar, shown)) = &self.0 else { return };
        if let Ok(mut shown) = shown.lock()
            && *shown != Some(progress.stage)
        {
            *shown = Some(progress.stage);
            let (template, words) = look(progress.stage);
            bar.reset();
            // The templates are constants; with a wrong one the bar has its default form.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_message(words);
        }
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((bar, _)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn look(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Checking => (OPERATIONS, "checking what is there"),
        Stage::Copying => (OPERATIONS, "copying"),
        Stage::Verifying => (OPERATIONS, "comparing"),
        Stage::BackingUp => (BYTES, "copying"),
        Stage::Objects => (OBJECTS, "copying objects"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [OPERATIONS, BYTES, OBJECTS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
