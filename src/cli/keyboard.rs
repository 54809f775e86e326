//! The keys of a terminal, one by one and without echo, for a command that draws on the whole screen.

use std::io::{IsTerminal as _, stdin};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

use super::Exit;

/// How often the keyboard is looked at: soon enough for a person.
const LOOK: Duration = Duration::from_millis(50);
const ESCAPE: u8 = 0x1b;
const CTRL_C: u8 = 0x03;
const CTRL_BACKSLASH: u8 = 0x1c;

/// The keyboard of the terminal at stdin. The terminal gets its old mode back when this is dropped.
pub(super) struct Keyboard {
    before: Termios,
}

impl Keyboard {
    /// `None` if stdin is not a terminal, or if it is one of which this process is in the background: the system stops a
    /// process there that changes the terminal.
    pub(super) fn open() -> Option<Self> {
        let stdin = stdin();
        let is_behind = tcgetpgrp(&stdin).is_ok_and(|group| group != getpgrp());
        if !stdin.is_terminal() || is_behind {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut by_key = before.clone();
        by_key.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        by_key.special_codes[SpecialCodeIndex::VMIN] = 1;
        by_key.special_codes[SpecialCodeIndex::VTIME] = 0;
        // The signal of Ctrl-\ would end the program with the terminal as it is.
        by_key.special_codes[SpecialCodeIndex::VQUIT] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &by_key).ok()?;
        Some(Self { before })
    }

    /// Completes when a key ends the program: q, Q, Escape, or an interrupt that is no signal.
    pub(super) async fn end(&self) -> Exit {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let mut bytes = [0; 64];
            if let Some(exit) = ending(typed(&mut bytes)) {
                return exit;
            }
        }
    }
}

/// What has been typed since the last look. Does not wait.
fn typed(bytes: &mut [u8]) -> &[u8] {
    let stdin = stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    let is_ready = poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
    if !is_ready || !polled[0].revents().contains(PollFlags::IN) {
        return &[];
    }
    let length = rustix::io::read(&stdin, &mut *bytes).unwrap_or_default();
    &bytes[..length]
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ignored = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// The exit code, if one of these keys ends the program.
fn ending(bytes: &[u8]) -> Option<Exit> {
    match bytes {
        [ESCAPE] => Some(Exit::Ok),
        // The sequence of another key, such as an arrow.
        [ESCAPE, ..] => None,
        _ => bytes.iter().find_map(|byte| match byte {
            b'q' | b'Q' => Some(Exit::Ok),
            &(CTRL_C | CTRL_BACKSLASH) => Some(Exit::Interrupted),
            _ => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_end_the_program() {
        for keys in [&b"q"[..], b"Q", b"jq", b"\x1b"] {
            assert_eq!(ending(keys), Some(Exit::Ok), "{keys:?}");
        }
        assert_eq!(ending(b"\x03"), Some(Exit::Interrupted));
        for keys in [&b"\x1b[A"[..], b"\x1bOq", b"j", b""] {
            assert_eq!(ending(keys), None, "{keys:?}");
        }
    }
}
