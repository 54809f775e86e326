//! gRPC calls and HTTP requests: each counts once, when it ends, with its outcome.

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

/// The bounds in microseconds: from 1 ms to 5 minutes, the age of a stream.
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
/// The number of gRPC's canonical codes.
const CODES: usize = 17;
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
/// The number of HTTP statuses.
const STATUSES: usize = 500;
const FIRST_STATUS: usize = 100;
/// The status for a client that disconnected before the response, as in nginx.
const CLIENT_GONE: usize = 499;
/// The name for paths that are no method's, and for requests that match no route.
const NONE: &str = "none";

/// The route of a response; an extension of the response.
#[derive(Clone, Copy, Debug)]
pub struct Route(pub &'static str);

/// The counts of all methods and routes.
#[derive(Debug, Default)]
pub struct Calls {
    rpcs: Table,
    routes: Table,
    /// Running gRPC calls, streams included.
    pub open_rpcs: Arc<Gauge>,
    /// Running HTTP requests, streams included.
    pub open_requests: Arc<Gauge>,
}

/// The outcomes of one method's or route's calls.
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
    /// Counts for these methods, by path, and these routes, by name; all others are counted together.
    pub fn new(
        rpcs: impl IntoIterator<Item = &'static str>,
        routes: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let (rpcs, routes) = (Table::new(rpcs, CODES), Table::new(routes, STATUSES));
        Self { rpcs, routes, ..Self::default() }
    }

    /// Begins a gRPC call to this path.
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

    /// Begins an HTTP request.
    pub fn request(&self) -> Begun {
        let ends = Arc::clone(&self.routes.none);
        let code = CLIENT_GONE - FIRST_STATUS;
        Begun { ends, code, at: Instant::now(), span: None, _open: self.open_requests.hold() }
    }

    /// Notes the head of a request's response.
    pub fn answered(&self, request: &mut Begun, route: Option<Route>, status: StatusCode) {
        if let Some(Route(name)) = route {
            request.ends = Arc::clone(self.routes.find(name));
        }
        request.code = usize::from(status.as_u16()).saturating_sub(FIRST_STATUS);
    }

    /// For each called method, the counts by the number of the code, and the durations.
    pub fn of_rpcs(&self) -> Vec<OfName> {
        read(&self.rpcs, 0)
    }

    /// For each requested route, the counts by status, and the durations.
    pub fn of_routes(&self) -> Vec<OfName> {
        read(&self.routes, FIRST_STATUS)
    }
}

/// A name, with the number of calls by code, and the durations.
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

/// A running call. It is counted on drop.
#[derive(Debug)]
pub struct Begun {
    ends: Arc<Ends>,
    /// The code's index.
    code: usize,
    at: Instant,
    /// Ends with the call.
    span: Option<CallSpan>,
    _open: Held,
}

impl Begun {
    /// Reads the gRPC status from the head of a response, or from trailers.
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

/// The body of a response, whose end ends the call.
#[derive(Debug)]
pub struct Metered<B> {
    body: B,
    call: Option<Begun>,
    is_rpc: bool,
}

impl<B> Metered<B> {
    /// The body of a gRPC call, whose status is in the head or in the trailers.
    pub fn rpc(head: &HeaderMap, body: B, mut call: Begun) -> Self {
        call.read_status(head);
        Self { body, call: Some(call), is_rpc: true }
    }

    /// The body of an HTTP request's response.
    pub fn request(body: B, call: Begun) -> Self {
        Self { body, call: Some(call), is_rpc: false }
    }

    /// Adds the call's span, which ends with the call.
    pub fn within(mut self, span: Option<CallSpan>) -> Self {
        if let (Some(call), Some(span)) = (&mut self.call, span) {
            call.span = Some(span);
        }
        self
    }

    /// The body of a response that is not counted.
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
