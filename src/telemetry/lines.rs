//! Writes log lines to stderr.
//!
//! A thread writes them, because a stalled reader of stderr must not block the program: the engine logs its commits.
//! The buffer is bounded; lines that do not fit are dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The maximum size of waiting lines, in bytes.
const MOST_WAITING: usize = 1 << 20;
/// The time limit for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The writer for the log's subscriber.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Shared>);

/// The log. On drop, waiting lines have a second to be written.
#[derive(Debug)]
#[must_use]
pub struct Log(Lines);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    left_out: u64,
    is_writing: bool,
    is_over: bool,
}

impl Lines {
    /// Starts to write to `sink`, one piece after the other.
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<(Self, Log)> {
        let lines = Self::default();
        let waiting = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || waiting.write_to(sink))?;
        Ok((lines.clone(), Log(lines)))
    }

    fn write_to(&self, mut sink: impl Write) {
        while let Some((bytes, left_out)) = self.take() {
            // A reader that is gone is no failure of the program.
            let _ = sink.write_all(&bytes);
            if left_out > 0 {
                tracing::warn!(left_out, "log lines were dropped: they were not read in time");
            }
        }
    }

    /// Waits for lines and takes them; `None` if no more will come.
    fn take(&self) -> Option<(Vec<u8>, u64)> {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        self.0.changed.notify_all();
        let is_idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.is_over;
        let waited = self.0.changed.wait_while(waiting, is_idle);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes.is_empty() {
            return None;
        }
        waiting.is_writing = true;
        self.0.changed.notify_all();
        Some((std::mem::take(&mut waiting.bytes), std::mem::take(&mut waiting.left_out)))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a line whole or drops it: the subscriber passes each one in a single call.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > MOST_WAITING {
            waiting.left_out += 1;
        } else {
            waiting.bytes.extend_from_slice(line);
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Self(lines) = self;
        let mut waiting = lines.lock();
        waiting.is_over = true;
        lines.0.changed.notify_all();
        let is_unwritten = |it: &mut Waiting| it.is_writing || !it.bytes.is_empty();
        // A reader that has not read by then does not read at all.
        let _ = lines.0.changed.wait_timeout_while(waiting, LAST_WORDS, is_unwritten);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Accepts a piece when it is allowed to.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(piece.to_vec()).map_err(io::Error::other)?;
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_read_waits_within_its_bound_and_holds_nobody_up() {
        let ((let_go, gate), (pieces, written)) = (channel(), channel());
        let (mut lines, log) = Lines::start(Slow(gate, pieces)).unwrap();
        lines.write_all(b"first\n").unwrap();
        // The thread notifies after a write, not before it.
        while !lines.lock().is_writing {
            thread::yield_now();
        }
        let line = [b'x'; 1_000];
        for _ in 0..2_000 {
            lines.write_all(&line).unwrap();
        }
        assert_eq!(lines.lock().left_out, 2_000 - (MOST_WAITING / 1_000) as u64);
        for _ in 0..2 {
            let_go.send(()).unwrap();
        }
        assert_eq!(written.recv().unwrap(), b"first\n");
        assert_eq!(written.recv().unwrap().len(), MOST_WAITING / 1_000 * 1_000);
        drop(log);
        assert!(lines.lock().bytes.is_empty());
    }
}
