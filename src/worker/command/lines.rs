//! Splits bytes into lines, with limits on what a command may write.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest line, in bytes; the rest is dropped.
const MAX_LINE: usize = 8 * 1024;
const CHUNK: usize = 16 * 1024;

/// The lines of a source.
#[derive(Debug)]
pub(super) struct Lines<R> {
    /// `None` once it has ended.
    source: Option<R>,
    chunk: Vec<u8>,
    partial: Vec<u8>,
    complete: VecDeque<String>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The lines of `source`.
    pub(super) fn of(source: R) -> Self {
        let (partial, complete) = (Vec::new(), VecDeque::new());
        Self { source: Some(source), chunk: vec![0; CHUNK], partial, complete }
    }

    /// The next line without its end; invalid UTF-8 is replaced. A source that cannot be read has ended. Text after the
    /// last line end is a line too.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.complete.pop_front() {
                return Some(line);
            }
            match self.source.as_mut()?.read(&mut self.chunk).await {
                Ok(length @ 1..) => self.split(length),
                Ok(0) | Err(_) => {
                    self.source = None;
                    return (!self.partial.is_empty()).then(|| self.take());
                }
            }
        }
    }

    fn split(&mut self, length: usize) {
        let chunk = std::mem::take(&mut self.chunk);
        for piece in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = MAX_LINE - self.partial.len();
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                let line = self.take();
                self.complete.push_back(line);
            }
        }
        self.chunk = chunk;
    }

    fn take(&mut self) -> String {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        let line = String::from_utf8_lossy(line).into_owned();
        self.partial.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(source: &[u8]) -> Vec<String> {
        let mut lines = Lines::of(source);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        assert_eq!(lines.next().await, None);
        all
    }

    #[tokio::test]
    async fn lines_end_in_any_way_and_need_not_be_text() {
        assert_eq!(lines(b"a\nbc\r\n\n\xff\ne").await, ["a", "bc", "", "\u{fffd}", "e"]);
        assert!(lines(b"").await.is_empty());
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_put_together_from_many_reads() {
        let text = [vec![b'x'; 3 * CHUNK], b"\ny".to_vec()].concat();
        assert_eq!(lines(&text).await, ["x".repeat(MAX_LINE), "y".to_owned()]);
    }
}
