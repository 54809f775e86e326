//! `longrun top`: kinds, workers and transitions, drawn at intervals.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::keyboard::Keyboard;
use super::live;
use super::output::Output;
use super::remote::Remote;
use super::signals::{Signals, Suspensions};
use super::standing::{kinds_table, workers_table};
use super::{Exit, text};
use crate::client::{Client, ClientError, WatchAll};
use crate::config::whole;
use crate::proto::json;
use crate::proto::v1::watch_operations_response::Type;
use crate::proto::v1::{
    KindSummary, ListKindsResponse, ListWorkersResponse, WatchOperationsRequest,
    WatchOperationsResponse,
};
use crate::time_text::parse_duration;

const EXAMPLES: &str = "\
Examples:
  longrun top
  longrun top --interval 5s --filter 'kind=\"report.build\"'
  longrun top --json --frames 1

At a terminal the screen is redrawn at each interval, until q, Escape or Ctrl-C; elsewhere the
tables follow each other. Kinds with most to do come first. WAITED and TOOK are medians of the
latest attempts.";

/// How many transitions are kept for the screen.
const MOST_LINES: usize = 100;
/// The size of the screen, if it is not known.
const SIZE: (usize, usize) = (24, 80);
/// Switches to the alternate screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Arguments of `top`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Interval between two frames, at least 100ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,
    /// Show this many frames, and end
    #[arg(long, value_name = "N", value_parser = whole(1..=u64::MAX))]
    frames: Option<u64>,
    /// Show only transitions of operations that match, see `longrun list --help`
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,
}

/// The whole screen of a terminal, and its keys. Both are as before when it is dropped.
struct Screen<'a> {
    out: &'a Output,
    keyboard: Option<Keyboard>,
}

impl<'a> Screen<'a> {
    fn enter(out: &'a Output) -> Self {
        let _ignored = out.bytes(ENTER.as_bytes());
        Self { out, keyboard: Keyboard::open() }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let _ignored = self.out.bytes(LEAVE.as_bytes());
    }
}

/// Completes when a key ends the program.
async fn ended_by_key(screen: Option<&Screen<'_>>) -> Exit {
    match screen.and_then(|screen| screen.keyboard.as_ref()) {
        Some(keyboard) => keyboard.end().await,
        None => pending().await,
    }
}

/// Completes when the program is to stop, with its screen.
async fn suspended(suspensions: Option<&mut Suspensions>) {
    match suspensions {
        Some(suspensions) => suspensions.next().await,
        None => pending().await,
    }
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let interval = args.interval.max(Duration::from_millis(100));
    let mut signals = Signals::catch()?;
    let mut now = tokio::select! {
        exit = signals.next() => return Ok(exit),
        look = look(&remote.client) => look.map_err(|error| remote.failed(&error, "look"))?,
    };
    let request =
        WatchOperationsRequest { filter: args.filter, skip_current: true, ..Default::default() };
    let mut feed = Feed::new(remote.patient().watch_operations(request));
    let mut suspensions = out.is_live().then(Suspensions::catch).transpose()?;
    let mut screen = out.is_live().then(|| Screen::enter(out));
    let mut shown = 0;
    loop {
        match (&screen, out.is_json()) {
            (_, true) => out.record(&document(&now)?)?,
            (Some(_), _) => out.bytes(frame(&now, &feed, out).as_bytes())?,
            (None, _) => out.line(&tables(&now, usize::MAX, out))?,
        }
        shown += 1;
        if args.frames.is_some_and(|frames| shown >= frames) {
            return Ok(Exit::Ok);
        }
        let next = Instant::now() + interval;
        let looked = async {
            sleep_until(next).await;
            look(&remote.client).await
        };
        let looked = tokio::select! {
            exit = signals.next() => return Ok(exit),
            exit = ended_by_key(screen.as_ref()) => return Ok(exit),
            () = suspended(suspensions.as_mut()) => {
                drop(screen.take());
                Suspensions::stop();
                screen = Some(Screen::enter(out));
                continue;
            }
            looked = looked => looked,
            failed = feed.read(out) => return Err(remote.failed(&failed, "watch")),
        };
        // A server that restarts is waited for; the screen says so.
        match looked {
            Ok(look) => now = look,
            Err(error) if error.is_transient() => now.note = Some(remote.unreached(&error)),
            Err(error) => return Err(remote.failed(&error, "look")),
        }
    }
}

/// Kinds and workers at one moment.
struct Look {
    kinds: ListKindsResponse,
    workers: ListWorkersResponse,
    note: Option<String>,
}

async fn look(client: &Client) -> Result<Look, ClientError> {
    let (kinds, workers) = tokio::try_join!(client.list_kinds(), client.list_workers(""))?;
    Ok(Look { kinds, workers, note: None })
}

/// The latest transitions.
struct Feed {
    watch: WatchAll,
    lines: VecDeque<String>,
}

impl Feed {
    fn new(watch: WatchAll) -> Self {
        Self { watch, lines: VecDeque::new() }
    }

    /// Reads transitions until the stream fails.
    async fn read(&mut self, out: &Output) -> ClientError {
        loop {
            match self.watch.next().await {
                Some(Ok(message)) => self.lines.extend(line(&message, out)),
                Some(Err(error)) => return error,
                None => return pending().await,
            }
            while self.lines.len() > MOST_LINES {
                self.lines.pop_front();
            }
        }
    }
}

fn line(message: &WatchOperationsResponse, out: &Output) -> Option<String> {
    let operation = message.operation.as_ref()?;
    let event = message.event.as_ref().filter(|_| message.r#type() == Type::Transition)?;
    Some(live::transition(operation, event, out))
}

fn document(look: &Look) -> anyhow::Result<serde_json::Value> {
    let (kinds, workers) = (json::to_value(&look.kinds)?, json::to_value(&look.workers)?);
    Ok(serde_json::json!({ "kinds": kinds["kinds"], "workers": workers["workers"] }))
}

/// Kinds with those first that have most to do; of equals, by name.
fn busiest(kinds: &[KindSummary]) -> Vec<KindSummary> {
    let mut sorted = kinds.to_vec();
    let load = |kind: &KindSummary| (kind.running, kind.queued, kind.ended_last_minute);
    sorted.sort_by_key(|kind| std::cmp::Reverse(load(kind)));
    sorted
}

/// The tables, with at most so many kinds.
fn tables(look: &Look, most: usize, out: &Output) -> String {
    let now = text::now();
    let sum = |of: fn(&KindSummary) -> i64| -> i64 { look.kinds.kinds.iter().map(of).sum() };
    let per_minute = sum(|kind| kind.ended_last_minute);
    let head = format!(
        "{} queued, {} running, {}; within the last minute {} submitted, {} ended, {} failed",
        sum(|kind| kind.queued),
        sum(|kind| kind.running),
        text::count(look.workers.total_size.unsigned_abs().into(), "worker"),
        sum(|kind| kind.submitted_last_minute),
        per_minute,
        sum(|kind| kind.failed_last_minute),
    );
    let mut parts = vec![out.paint.bold(&head)];
    parts.extend(look.note.clone());
    let kinds = busiest(&look.kinds.kinds);
    if let Some(shown) = kinds.get(..kinds.len().min(most)).filter(|shown| !shown.is_empty()) {
        let mut table = kinds_table(shown, now, out);
        let more = kinds.len() - shown.len();
        if more > 0 {
            table.push_str(&format!(
                "\n{}",
                out.paint.dim(&format!("and {more} kinds with less to do"))
            ));
        }
        parts.push(table);
    }
    if !look.workers.workers.is_empty() {
        parts.push(workers_table(&look.workers.workers, now, out));
    }
    parts.join("\n\n") + "\n"
}

/// One screen: the tables, and below them as many of the latest transitions as fit.
fn frame(look: &Look, feed: &Feed, out: &Output) -> String {
    let (rows, columns) = size();
    // Half of the screen, so that workers and transitions have room as well.
    let tables = tables(look, (rows / 2).saturating_sub(4).max(3), out);
    let mut lines: Vec<&str> = tables.lines().collect();
    let room = rows.saturating_sub(lines.len() + 2);
    let latest = feed.lines.len().saturating_sub(room);
    lines.push("");
    lines.extend(feed.lines.iter().skip(latest).map(String::as_str));
    lines.truncate(rows.saturating_sub(1));
    let mut frame = String::from("\x1b[H");
    for line in lines {
        frame.push_str(&cut(line, columns));
        // Clears the rest of the line.
        frame.push_str("\x1b[0m\x1b[K\r\n");
    }
    frame + "\x1b[J"
}

/// As much of a line as fits, its colors not counted.
fn cut(line: &str, columns: usize) -> String {
    let (mut cut, mut seen, mut is_escape) = (String::with_capacity(line.len()), 0, false);
    for c in line.chars() {
        is_escape |= c == '\x1b';
        if !is_escape {
            seen += 1;
        }
        if is_escape || seen <= columns {
            cut.push(c);
        }
        is_escape &= c != 'm';
    }
    cut
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => SIZE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_the_screen_ends_and_keep_their_colors() {
        assert_eq!(cut("abcdef", 4), "abcd");
        assert_eq!(cut("a\x1b[31mbc\x1b[0md", 2), "a\x1b[31mb\x1b[0m");
        assert_eq!(cut("", 4), "");
    }
}
