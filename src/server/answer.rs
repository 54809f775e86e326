//! The body of a response while it is sent: in pieces, so that the connection buffers no more than the client reads,
//! and with the resources that the call holds until then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::front::AnswerBody;
use super::places::Busy;
use super::resets::Counted;
use crate::service::CallRoom;

/// The maximum size of a piece, in bytes. A piece that was passed on waits in the connection, whether or not the client
/// has room.
const PIECE: usize = 64 << 10;

type Error = <AnswerBody as HttpBody>::Error;

/// A body that is passed on in pieces.
#[derive(Debug)]
pub(super) struct Answer {
    body: Counted<AnswerBody>,
    /// The rest of a frame.
    rest: Bytes,
    room: Arc<CallRoom>,
    _busy: Option<Busy>,
}

impl Answer {
    /// The response of a call that has taken `room`, and makes its connection `busy`.
    pub(super) fn new(body: Counted<AnswerBody>, room: Arc<CallRoom>, busy: Option<Busy>) -> Self {
        room.made();
        Self { body, rest: Bytes::new(), room, _busy: busy }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        self.room.moved();
        let piece = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.room.give_back();
    }
}
