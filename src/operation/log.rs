//! The log lines of an operation: numbered, capped, the oldest dropped first.

use std::collections::VecDeque;

/// The maximum number of lines per operation.
pub const MAX_LINES: usize = 1_000;
/// The maximum size of an operation's lines, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// The maximum length of a line, in bytes; the rest is cut off.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// A summary of the kept lines: enough to decide which to drop when more arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBook {
    next_number: u64,
    sizes: VecDeque<u32>,
    bytes: usize,
}

/// The effect of adding lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The lines to write, with their numbers. Excludes lines that would be dropped at once.
    pub lines: Vec<(u64, String)>,
    /// Lines with smaller numbers are dropped.
    pub keep_from: u64,
}

impl LogBook {
    /// The book of an operation with lines of these sizes, the last of which has the number `last_number` (0 if there
    /// never was a line).
    pub fn new(last_number: u64, sizes: impl IntoIterator<Item = u32>) -> Self {
        let sizes: VecDeque<u32> = sizes.into_iter().collect();
        let bytes = sizes.iter().map(|size| *size as usize).sum();
        Self { next_number: last_number + 1, sizes, bytes }
    }

    /// Adds lines at the end, and drops the oldest while there are too many.
    pub fn append(&mut self, lines: impl IntoIterator<Item = String>) -> Appended {
        if self.next_number == 0 {
            self.next_number = 1;
        }
        let mut added = Vec::new();
        for mut line in lines {
            truncate(&mut line, MAX_LINE_BYTES);
            self.sizes.push_back(line.len() as u32);
            self.bytes += line.len();
            added.push((self.next_number, line));
            self.next_number += 1;
        }
        while self.sizes.len() > MAX_LINES || self.bytes > MAX_BYTES {
            self.bytes -= self.sizes.pop_front().map_or(0, |size| size as usize);
        }
        let keep_from = self.next_number - self.sizes.len() as u64;
        added.retain(|(number, _)| *number >= keep_from);
        Appended { lines: added, keep_from }
    }
}

/// Cuts `text` to at most `limit` bytes, at a character's boundary.
pub fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_and_the_oldest_lines_go_first() {
        let mut book = LogBook::default();
        let first = book.append(["a".to_owned(), "b".to_owned()]);
        assert_eq!(first.lines, [(1, "a".to_owned()), (2, "b".to_owned())]);
        assert_eq!(first.keep_from, 1);
        let many = book.append((0..MAX_LINES).map(|n| n.to_string()));
        assert_eq!(many.lines.len(), MAX_LINES);
        assert_eq!(many.keep_from, 3);
    }

    #[test]
    fn a_text_is_cut_before_the_character_that_goes_beyond() {
        for (limit, cut) in [(0, ""), (1, ""), (2, "é"), (3, "é"), (4, "éé"), (5, "éé")] {
            let mut text = "éé".to_owned();
            truncate(&mut text, limit);
            assert_eq!(text, cut, "{limit}");
        }
    }

    #[test]
    fn bytes_are_capped_and_long_lines_cut_between_characters() {
        let mut book = LogBook::new(7, [10]);
        let long = book.append(["é".repeat(MAX_LINE_BYTES)]);
        assert_eq!(long.lines[0].1.len(), MAX_LINE_BYTES);
        let flood = book.append((0..100).map(|_| "x".repeat(MAX_LINE_BYTES)));
        assert_eq!(flood.lines.len(), MAX_BYTES / MAX_LINE_BYTES);
        assert_eq!(flood.keep_from, 108 + 1 - (MAX_BYTES / MAX_LINE_BYTES) as u64);
    }
}
