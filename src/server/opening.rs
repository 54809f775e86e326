//! Notices when a connection has shown its HTTP version. Before that no other time limit applies.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The preface of HTTP/2; anything else is HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes are inspected as they pass.
#[derive(Debug)]
pub(super) struct Opening<I> {
    io: I,
    /// The number of preface bytes read; `None` once the protocol is known.
    read: Option<usize>,
    opened: Arc<AtomicBool>,
}

/// Whether the connection has shown its HTTP version.
#[derive(Clone, Debug)]
pub(super) struct Opened(Arc<AtomicBool>);

impl Opened {
    pub(super) fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<I> Opening<I> {
    pub(super) fn new(io: I) -> (Self, Opened) {
        let opened = Arc::new(AtomicBool::new(false));
        (Self { io, read: Some(0), opened: Arc::clone(&opened) }, Opened(opened))
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let Some(read) = self.read else { return };
        let expected = PREFACE.get(read..).unwrap_or_default();
        let length = bytes.len().min(expected.len());
        let same = bytes.get(..length) == expected.get(..length);
        self.read = (same && length < expected.len()).then_some(read + length);
        if self.read.is_none() {
            self.opened.store(true, Ordering::Relaxed);
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Opening<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if self.read.is_some() {
            self.look_at(buf.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Opening<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(pieces: &[&[u8]]) -> bool {
        let (mut opening, opened) = Opening::new(());
        for piece in pieces {
            opening.look_at(piece);
        }
        opened.is_true()
    }

    #[test]
    fn a_connection_has_opened_when_its_version_is_settled() {
        assert!(!opened(&[]));
        assert!(!opened(&[b"P", b"RI * HT"]));
        assert!(!opened(&[&PREFACE[..23]]));
        assert!(opened(&[&PREFACE[..23], &PREFACE[23..]]));
        assert!(opened(&[PREFACE, b"more"]));
        assert!(opened(&[b"G"]));
        assert!(opened(&[b"PRI * HTTP/2.1"]));
        assert!(opened(&[b"P", b"OST / HTTP/1.1"]));
    }
}
