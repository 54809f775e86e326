//! Calls over gRPC and requests over HTTP: each counts once, when it ends, with what came of it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::values::{Counter, Gauge, Held, Histogram};
use crate::spans::CallSpan;

/// Microseconds: from 1 ms to 5 minutes, the age of a stream.
const DURATIONS: [u64; 15] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];
/// The canonical codes of gRPC.
const CODES: usize = 17;
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
/// The statuses of HTTP.
const STATUSES: usize = 500;
const FIRST_STATUS: usize = 100;
/// A request whose client was gone before it was answered, as nginx has it.
const CLIENT_GONE: usize = 499;
/// Paths that are no method's, and requests that no route takes.
const NONE: &str = "none";

/// Which route a response is of; an extension of the response.
#[derive(Clone, Copy, Debug)]
pub struct Route(pub &'static str);

/// Everything that can be called.
#[derive(Debug, Default)]
pub struct Calls {
    rpcs: Table,
    routes: Table,
    /// Calls over gRPC that are under way, streams included.
    pub open_rpcs: Arc<Gauge>,
    /// Requests over HTTP that are under way, streams included.
    pub open_requests: Arc<Gauge>,
}

/// What came of the calls of one method or route.
#[derive(Debug)]
struct Ends {
    codes: Box<[Counter]>,
    durations: Histogram,
}

#[derive(Debug)]
struct Table {
    of: HashMap<&'static str, Arc<Ends>>,
    none: Arc<Ends>,
}

impl Table {
    fn new(names: impl IntoIterator<Item = &'static str>, codes: usize) -> Self {
        let new = || {
            let codes = (0..codes).map(|_| Counter::default()).collect();
            Arc::new(Ends { codes, durations: Histogram::of_durations(&DURATIONS) })
        };
        Self { of: names.into_iter().map(|name| (name, new())).collect(), none: new() }
    }

    fn find(&self, name: &str) -> &Arc<Ends> {
        self.of.get(name).unwrap_or(&self.none)
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &Ends)> {
        let all = self.of.iter().map(|(name, ends)| (*name, &**ends));
        all.chain([(NONE, &*self.none)])
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new([], STATUSES)
    }
}

impl Calls {
    /// Calls to these methods, by their paths, and to these routes, by their names; all others count together.
    pub fn new(
        rpcs: impl IntoIterator<Item = &'static str>,
        routes: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let (rpcs, routes) = (Table::new(rpcs, CODES), Table::new(routes, STATUSES));
        Self { rpcs, routes, ..Self::default() }
    }

    /// A call over gRPC to this path begins.
    pub fn rpc(&self, path: &str) -> Begun {
        let ends = Arc::clone(self.rpcs.find(path));
        Begun {
            ends,
            code: CANCELLED,
            at: Instant::now(),
            span: None,
            _open: self.open_rpcs.hold(),
        }
    }

    /// A request over HTTP begins.
    pub fn request(&self) -> Begun {
        let ends = Arc::clone(&self.routes.none);
        let code = CLIENT_GONE - FIRST_STATUS;
        Begun { ends, code, at: Instant::now(), span: None, _open: self.open_requests.hold() }
    }

    /// The head of the response to a request is there.
    pub fn answered(&self, request: &mut Begun, route: Option<Route>, status: StatusCode) {
        if let Some(Route(name)) = route {
            request.ends = Arc::clone(self.routes.find(name));
        }
        request.code = usize::from(status.as_u16()).saturating_sub(FIRST_STATUS);
    }

    /// Of each method that was called, the counts by the number of the code, and how long calls took.
    pub fn of_rpcs(&self) -> Vec<OfName> {
        read(&self.rpcs, 0)
    }

    /// Of each route that was asked, the counts by status, and how long requests took.
    pub fn of_routes(&self) -> Vec<OfName> {
        read(&self.routes, FIRST_STATUS)
    }
}

/// Of a name: how many calls ended with each code, and how long calls took.
pub(crate) type OfName = (&'static str, Vec<(usize, u64)>, super::Reading);

fn read(table: &Table, first: usize) -> Vec<OfName> {
    let mut all: Vec<_> = table
        .all()
        .map(|(name, ends)| {
            let codes = ends.codes.iter().map(Counter::get).enumerate();
            let codes = codes.filter(|(_, count)| *count > 0);
            let codes: Vec<_> = codes.map(|(code, count)| (code + first, count)).collect();
            (name.trim_start_matches('/'), codes, ends.durations.read())
        })
        .filter(|(_, codes, _)| !codes.is_empty())
        .collect();
    all.sort_unstable_by_key(|(name, ..)| *name);
    all
}

/// A call under way. It counts when it is dropped.
#[derive(Debug)]
pub struct Begun {
    ends: Arc<Ends>,
    /// The place among the codes.
    code: usize,
    at: Instant,
    /// Ends with the call.
    span: Option<CallSpan>,
    _open: Held,
}

impl Begun {
    /// Takes the status of gRPC out of the head of a response, or out of trailers.
    fn read_status(&mut self, fields: &HeaderMap) {
        if let Some(status) = fields.get("grpc-status") {
            let code = status.to_str().ok().and_then(|status| status.parse().ok());
            self.code = code.filter(|code| *code < CODES).unwrap_or(UNKNOWN);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let last = self.ends.codes.len().saturating_sub(1);
        if let Some(counter) = self.ends.codes.get(self.code.min(last)) {
            counter.one();
        }
        self.ends.durations.add_duration(self.at.elapsed());
        if let Some(span) = self.span.take() {
            span.ended(self.code);
        }
    }
}

/// The body of a response, with whose end the call ends.
#[derive(Debug)]
pub struct Metered<B> {
    body: B,
    call: Option<Begun>,
    is_rpc: bool,
}

impl<B> Metered<B> {
    /// Of a call over gRPC: its status is in the head or in the trailers.
    pub fn rpc(head: &HeaderMap, body: B, mut call: Begun) -> Self {
        call.read_status(head);
        Self { body, call: Some(call), is_rpc: true }
    }

    /// Of a request over HTTP.
    pub fn request(body: B, call: Begun) -> Self {
        Self { body, call: Some(call), is_rpc: false }
    }

    /// With the span of the call, which ends with it.
    pub fn within(mut self, span: Option<CallSpan>) -> Self {
        if let (Some(call), Some(span)) = (&mut self.call, span) {
            call.span = Some(span);
        }
        self
    }

    /// Of what counts as no call.
    pub fn uncounted(body: B) -> Self {
        Self { body, call: None, is_rpc: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && this.is_rpc
            && let (Some(call), Some(trailers)) = (&mut this.call, frame.trailers_ref())
        {
            call.read_status(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
