//! Damage that SQLite would pass over: a file that was cut off, and a write-ahead log with a hole.
//!
//! SQLite ends the log at the first frame whose checksum is wrong, because that is what a crash within a
//! commit leaves. But a commit is synced before the next is written: where whole commits stand behind a
//! wrong frame, it was right once, and ending there would lose what was acknowledged. The last commits
//! of a log cannot be told from one that was under way.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const FILE_HEADER_BYTES: usize = 100;
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The last bit says that checksums are of big-endian numbers.
const LOG_MAGIC: u32 = 0x377f_0682;
const BUFFER_BYTES: usize = 1 << 20;

/// What is wrong with a store's files, if that can be told.
pub(super) fn find(file: &Path, log: &Path) -> io::Result<Option<String>> {
    let length = |path: &Path| match std::fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    };
    let (file_bytes, log_bytes) = (length(file)?, length(log)?);
    if log_bytes > LOG_HEADER_BYTES as u64 {
        // The file may be behind its log, in length too.
        return find_hole(BufReader::with_capacity(BUFFER_BYTES, File::open(log)?));
    }
    let mut header = [0; FILE_HEADER_BYTES];
    File::open(file)?.read_exact(&mut header)?;
    let page_bytes = match u64::from(number(&header[16..20]) >> 16) {
        1 => 65_536,
        bytes => bytes,
    };
    // The number of pages is only kept by programs that also keep these two the same.
    let is_kept = header[24..28] == header[92..96];
    let whole = u64::from(number(&header[28..32])) * page_bytes;
    let is_cut_off = is_kept && file_bytes < whole;
    Ok(is_cut_off.then(|| format!("it is cut off: of {whole} bytes it has {file_bytes}")))
}

/// A wrong frame with whole commits behind it.
fn find_hole(mut log: impl Read) -> io::Result<Option<String>> {
    let mut header = [0; LOG_HEADER_BYTES];
    log.read_exact(&mut header)?;
    let sum = Sum { is_big_endian: header[3] & 1 == 1, low: 0, high: 0 }.of(&header[..24]);
    if number(&header[..4]) & !1 != LOG_MAGIC || !sum.is(&header[24..32]) {
        return Ok(Some("the header of its write-ahead log is wrong".to_owned()));
    }
    let page_bytes = number(&header[8..12]) as usize;
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let (mut before, mut wrong, mut commit_behind) = (sum, None, false);
    for at in 1_u64.. {
        match log.read_exact(&mut frame) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        // The frames of an earlier round, which stand behind this one's, have another salt.
        let is_right =
            head[8..16] == header[16..24] && before.of(&head[..8]).of(page).is(&head[16..24]);
        match (wrong, is_right) {
            (None, false) => wrong = Some(at),
            (Some(wrong), true) if commit_behind => {
                let what = format!("frame {wrong} of its write-ahead log is wrong");
                return Ok(Some(format!("{what}, and there are commits behind it")));
            }
            (Some(_), true) => commit_behind = number(&head[4..8]) != 0,
            _ => {}
        }
        before = before.stored(&head[16..24]);
    }
    Ok(None)
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

    /// The sum after these bytes, a multiple of eight.
    fn of(mut self, bytes: &[u8]) -> Self {
        for pair in bytes.chunks_exact(8) {
            self.low = self.low.wrapping_add(self.read(&pair[..4])).wrapping_add(self.high);
            self.high = self.high.wrapping_add(self.read(&pair[4..])).wrapping_add(self.low);
        }
        self
    }

    /// Sums are stored in one order whatever they are of.
    fn stored(self, bytes: &[u8]) -> Self {
        Self { low: number(&bytes[..4]), high: number(&bytes[4..8]), ..self }
    }

    fn is(self, stored: &[u8]) -> bool {
        (self.low, self.high) == (number(&stored[..4]), number(&stored[4..8]))
    }
}

/// A big-endian number.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}
