//! The write-ahead log as SQLite would read it, before SQLite does.
//!
//! SQLite ends the log at the first frame with a wrong checksum, because that is what a crash within a commit leaves.
//! But a commit is synced before the next is written: a wrong frame followed by whole commits was right once, and
//! ending there would lose acknowledged commits. Damage to the last commits of a log cannot be told from an unfinished
//! commit.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::header::number;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The last bit is set if checksums are over big-endian numbers.
const MAGIC: u32 = 0x377f_0682;
const BUFFER_BYTES: usize = 1 << 20;

/// A log that has commits.
#[derive(Debug)]
pub(super) struct Log {
    /// A random number for the log's first generation, raised by one each time that SQLite begins it anew.
    pub(super) salt: u32,
    /// The last committed content of the file's first page, if it is in the log.
    pub(super) first_page: Option<Vec<u8>>,
    /// Whether the log has no other page.
    pub(super) has_first_page_only: bool,
}

/// The files beside a store's file.
#[derive(Debug)]
pub(super) enum Found {
    /// No log.
    Missing,
    /// A log without a commit.
    Empty,
    /// A log with commits.
    Commits(Log),
    /// A damaged log, with the reason.
    Damaged(String),
}

impl Found {
    pub(super) fn commits(&self) -> Option<&Log> {
        match self {
            Self::Commits(log) => Some(log),
            Self::Missing | Self::Empty | Self::Damaged(_) => None,
        }
    }
}

/// Reads a log.
pub(super) fn find(path: &Path) -> io::Result<Found> {
    match File::open(path) {
        Ok(file) if file.metadata()?.len() > HEADER_BYTES as u64 => {
            read(BufReader::with_capacity(BUFFER_BYTES, file))
        }
        Ok(_) => Ok(Found::Empty),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Missing),
        Err(error) => Err(error),
    }
}

/// The salt of a log with frames.
pub(super) fn salt(path: &Path) -> io::Result<u32> {
    let mut header = [0; HEADER_BYTES];
    File::open(path)?.read_exact(&mut header)?;
    Ok(number(&header[16..20]))
}

fn read(mut log: impl Read) -> io::Result<Found> {
    let mut header = [0; HEADER_BYTES];
    log.read_exact(&mut header)?;
    let sum = Sum { is_big_endian: header[3] & 1 == 1, low: 0, high: 0 }.of(&header[..24]);
    if number(&header[..4]) & !1 != MAGIC || !sum.is(&header[24..32]) {
        return Ok(Found::Damaged("the header of its write-ahead log is wrong".to_owned()));
    }
    let page_bytes = number(&header[8..12]) as usize;
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let (mut before, mut wrong, mut commit_behind) = (sum, None, false);
    let mut pages = Pages::default();
    for at in 1_u64.. {
        match log.read_exact(&mut frame) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        let is_commit = number(&head[4..8]) != 0;
        // Frames of an earlier round, which follow those of this one, have another salt.
        let is_right =
            head[8..16] == header[16..24] && before.of(&head[..8]).of(page).is(&head[16..24]);
        match (wrong, is_right) {
            (None, true) => pages.add(number(&head[..4]), page, is_commit),
            (None, false) => wrong = Some(at),
            (Some(wrong), true) if commit_behind => {
                let what = format!("frame {wrong} of its write-ahead log is wrong");
                return Ok(Found::Damaged(format!("{what}, and there are commits behind it")));
            }
            (Some(_), true) => commit_behind = is_commit,
            (Some(_), false) => {}
        }
        before = before.stored(&head[16..24]);
    }
    Ok(pages.end(number(&header[16..20])))
}

/// The pages that are remembered while the log is read: those of the present commit, and those of complete ones.
#[derive(Default)]
struct Pages {
    first_page: Option<Vec<u8>>,
    has_others: bool,
    committed: Option<(Option<Vec<u8>>, bool)>,
}

impl Pages {
    fn add(&mut self, number: u32, page: &[u8], is_commit: bool) {
        match number {
            1 => self.first_page = Some(page.to_vec()),
            _ => self.has_others = true,
        }
        if is_commit {
            let before = self.committed.take();
            let first_page = self.first_page.take().or_else(|| before.and_then(|(page, _)| page));
            self.committed = Some((first_page, self.has_others));
        }
    }

    fn end(self, salt: u32) -> Found {
        match self.committed {
            None => Found::Empty,
            Some((first_page, has_others)) => {
                Found::Commits(Log { salt, first_page, has_first_page_only: !has_others })
            }
        }
    }
}

/// A running checksum.
#[derive(Clone, Copy)]
struct Sum {
    is_big_endian: bool,
    low: u32,
    high: u32,
}

impl Sum {
    fn read(self, bytes: &[u8]) -> u32 {
        if self.is_big_endian { number(bytes) } else { number(bytes).swap_bytes() }
    }

    /// The sum after these bytes, whose number must be a multiple of eight.
    fn of(mut self, bytes: &[u8]) -> Self {
        for pair in bytes.chunks_exact(8) {
            self.low = self.low.wrapping_add(self.read(&pair[..4])).wrapping_add(self.high);
            self.high = self.high.wrapping_add(self.read(&pair[4..])).wrapping_add(self.low);
        }
        self
    }

    /// Sums are stored big-endian, whatever they are computed over.
    fn stored(self, bytes: &[u8]) -> Self {
        Self { low: number(&bytes[..4]), high: number(&bytes[4..8]), ..self }
    }

    fn is(self, stored: &[u8]) -> bool {
        (self.low, self.high) == (number(&stored[..4]), number(&stored[4..8]))
    }
}
