//! Gathers what a connection writes while its task runs: the frames of many calls leave with one write.
//!
//! HTTP/2 passes on each message of more than 256 bytes by itself. Written at once, the messages of one commit to its
//! watchers would each cost a system call, and their readers a wake-up.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The maximum gathered size, in bytes. Larger writes are not gathered.
const MOST_BYTES: usize = 16 << 10;
/// The capacity that an idle connection keeps, in bytes.
const KEPT_BYTES: usize = 2 << 10;

/// A connection whose writes are gathered until its [`Outbox`] is emptied. Flushing it does nothing.
#[derive(Debug)]
pub(super) struct Gathering<I>(Arc<Mutex<Gathered<I>>>);

/// The gathered bytes, for the connection's task, which writes them whenever it has run.
#[derive(Debug)]
pub(super) struct Outbox<I>(Arc<Mutex<Gathered<I>>>);

#[derive(Debug)]
struct Gathered<I> {
    io: I,
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// Whether the other ready tasks have had their turn to add bytes.
    has_waited: bool,
}

fn lock<I>(gathered: &Mutex<Gathered<I>>) -> MutexGuard<'_, Gathered<I>> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<I> Gathering<I> {
    pub(super) fn new(io: I) -> (Self, Outbox<I>) {
        let gathered =
            Arc::new(Mutex::new(Gathered { io, bytes: Vec::new(), written: 0, has_waited: false }));
        (Self(Arc::clone(&gathered)), Outbox(gathered))
    }
}

impl<I: AsyncWrite + Unpin> Outbox<I> {
    /// Runs the connection, which ends with `ended`, and then writes what was gathered; ready when the connection has
    /// ended and everything is written. Some connections end without a shutdown.
    pub(super) fn poll_behind<F: Future>(
        &self,
        cx: &mut Context<'_>,
        connection: Pin<&mut F>,
        ended: &mut Option<F::Output>,
    ) -> Poll<io::Result<F::Output>> {
        if ended.is_none()
            && let Poll::Ready(end) = connection.poll(cx)
        {
            *ended = Some(end);
        }
        let mut gathered = lock(&self.0);
        if ended.is_none() && gathered.waits(cx) {
            return Poll::Pending;
        }
        ready!(gathered.poll_empty(cx))?;
        ended.take().map_or(Poll::Pending, |end| Poll::Ready(Ok(end)))
    }
}

impl<I: AsyncWrite + Unpin> Gathered<I> {
    /// Whether to let the ready tasks run before writing, because one commit makes many calls ready.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        let waits = !self.bytes.is_empty() && !self.has_waited;
        if waits {
            self.has_waited = true;
            cx.waker().wake_by_ref();
        }
        waits
    }

    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.written = 0;
        self.has_waited = false;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        Poll::Ready(Ok(()))
    }

    /// Ready when `length` more bytes fit, or nothing is gathered.
    fn poll_room(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<()>> {
        if self.bytes.len().saturating_add(length) <= MOST_BYTES {
            return Poll::Ready(Ok(()));
        }
        self.poll_empty(cx)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gathering<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gathering<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = lock(&self.0);
        ready!(gathered.poll_empty(cx))?;
        Pin::new(&mut gathered.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = lock(&self.0);
        let length = bufs.iter().map(|buf| buf.len()).sum();
        ready!(gathered.poll_room(cx, length))?;
        if length > MOST_BYTES {
            return Pin::new(&mut gathered.io).poll_write_vectored(cx, bufs);
        }
        bufs.iter().for_each(|buf| gathered.bytes.extend_from_slice(buf));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Writes these pieces, and empties the box after those marked true.
    async fn write(pieces: Vec<(Vec<u8>, bool)>, room: usize) -> Vec<u8> {
        let (io, mut peer) = duplex(room);
        let (mut gathering, outbox) = Gathering::new(io);
        let writing = async move {
            for (piece, is_end) in pieces {
                gathering.write_all(&piece).await.unwrap();
                gathering.flush().await.unwrap();
                if is_end {
                    poll_fn(|cx| lock(&outbox.0).poll_empty(cx)).await.unwrap();
                    assert!(lock(&outbox.0).bytes.capacity() <= KEPT_BYTES);
                }
                assert!(lock(&outbox.0).bytes.len() <= MOST_BYTES);
            }
            gathering.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let reading = async { peer.read_to_end(&mut read).await.unwrap() };
        tokio::join!(writing, reading);
        read
    }

    proptest! {
        #[test]
        fn everything_arrives_in_order(
            lengths in prop::collection::vec((0_usize..40_000, any::<bool>()), 0..8),
            room in 1_usize..50_000,
        ) {
            let piece = |(number, (length, is_end)): (usize, &(usize, bool))| {
                (vec![u8::try_from(number).unwrap(); *length], *is_end)
            };
            let pieces: Vec<_> = lengths.iter().enumerate().map(piece).collect();
            let expected: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert_eq!(runtime.block_on(write(pieces, room)), expected);
        }
    }

    #[tokio::test]
    async fn small_writes_leave_together() {
        let (io, mut peer) = duplex(1_000);
        let (mut gathering, outbox) = Gathering::new(io);
        for piece in [&b"one, "[..], b"two"] {
            gathering.write_all(piece).await.unwrap();
            gathering.flush().await.unwrap();
        }
        let mut read = [0; 100];
        let nothing = tokio::time::timeout(std::time::Duration::ZERO, peer.read(&mut read)).await;
        assert!(nothing.is_err(), "it is still gathered");
        poll_fn(|cx| lock(&outbox.0).poll_empty(cx)).await.unwrap();
        let length = peer.read(&mut read).await.unwrap();
        assert_eq!(&read[..length], b"one, two");
    }
}
