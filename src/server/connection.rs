//! One connection: its limits, its requests, its end.
//!
//! Serves connections of every listener; it accepts none, and knows no routes except those of health.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, RETRY_AFTER};
use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::Answer;
use super::ending::{Ending, Step, Watched};
use super::front::{AnswerBody, Front};
use super::gathering::Gathering;
use super::opening::Opening;
use super::places::Place;
use super::resets::{Call, ResetBudget};
use super::{CONNECTION_WINDOW_BYTES, MAX_CONCURRENT_STREAMS, STREAM_WINDOW_BYTES};
use crate::metrics::{Metered, Meters};
use crate::service::{AnswerRoom, ConnectionRoom, ConnectionTenants};

// Long streams must outlive proxies, which cut connections after a minute of silence, and must notice dead peers.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(25);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest header with the request line, in bytes: room for browsers' headers with large cookies. HTTP/1
/// additionally limits the number of fields to 100.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// How many streams a client may reset before they are accepted: while the server is busy they queue, at most as many
/// as a client can have open. [`ResetBudget`] limits resets over time.
const MAX_PENDING_RESETS: usize = MAX_CONCURRENT_STREAMS as usize;
/// How many streams may break a rule of the protocol during a connection. DATA of a call whose response came before all
/// of it was sent counts too, and proxies keep connections for long.
const MAX_ERROR_RESETS: usize = 16_384;
/// The paths of health checks.
const HEALTH: [&str; 3] = ["/livez", "/readyz", "/grpc.health.v1.Health/Check"];

/// The settings of connections, and their tasks. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    builder: auto::Builder<Tracked>,
    front: Arc<Front>,
    header_timeout: Duration,
    idle_timeout: Duration,
    room: AnswerRoom,
    tasks: TaskTracker,
}

/// Runs the tasks of a connection's streams so that their end can be awaited.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

impl Connections {
    /// Connections to `front`, with `header_timeout` for the header of each request and between two requests of HTTP/1,
    /// and `idle_timeout` for a connection without any call.
    pub(super) fn new(front: Front, header_timeout: Duration, idle_timeout: Duration) -> Self {
        let tasks = TaskTracker::new();
        let mut builder = auto::Builder::new(Tracked(tasks.clone()));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(MAX_HEADER_BYTES as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_ERROR_RESETS)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let (front, room) = (Arc::new(front), AnswerRoom::default());
        Self { builder, front, header_timeout, idle_timeout, room, tasks }
    }

    /// Serves one connection to its end, or until `closing` and the end of its running requests. Each request carries
    /// `origin`. A connection within the process has no `place`.
    pub(super) fn serve<I>(
        &self,
        io: I,
        mut origin: Extensions,
        place: Option<Place>,
        closing: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { builder, front, header_timeout, idle_timeout, room, tasks } = self.clone();
        front.meters.accepted.one();
        let open = front.meters.connections.hold();
        if place.is_some() {
            origin.insert(Arc::new(ConnectionTenants::default()));
        }
        let (resets, room) = (ResetBudget::new(), room.connection());
        let watched = (place.clone(), Arc::clone(&resets), Arc::clone(&room));
        let answering = Answering { front, origin, place, resets, room };
        tasks.track_future(async move {
            let _open = open;
            let (io, outbox) = Gathering::new(io);
            let (io, opened) = Opening::new(io);
            let (place, resets, room) = watched;
            let watched = Watched { place, resets, room, opened };
            let mut ending = Ending::new(watched, closing, header_timeout, idle_timeout);
            let service = hyper::service::service_fn(move |request| answering.answer(request));
            let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
            let mut ended = None;
            loop {
                let served = poll_fn(|cx| outbox.poll_behind(cx, serving.as_mut(), &mut ended));
                tokio::select! {
                    served = served => {
                        if let Err(error) = served.map_err(Into::into).flatten() {
                            tracing::debug!(error = %error, "a connection failed");
                        }
                        break;
                    }
                    step = ending.next() => match step {
                        Step::Close => serving.as_mut().graceful_shutdown(),
                        Step::End => break,
                    }
                }
            }
        })
    }

    /// The connection in the metrics.
    pub(super) fn meters(&self) -> &Meters {
        &self.front.meters
    }

    /// The time limit before the first request.
    pub(super) fn header_timeout(&self) -> Duration {
        self.header_timeout
    }

    /// Waits until no task of any connection runs any more.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What answers the requests of one connection.
struct Answering {
    front: Arc<Front>,
    origin: Extensions,
    place: Option<Place>,
    resets: Arc<ResetBudget>,
    room: Arc<ConnectionRoom>,
}

impl Answering {
    fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + Send + use<> {
        request.extensions_mut().extend(self.origin.clone());
        let call = Call::new(&self.resets);
        let (room, busy) = (self.room.call(), self.place.as_ref().map(Place::call));
        // Over HTTP/1 a cancelled call ends its connection, and the end of a body with known length is not polled.
        let has_end = request.version() == Version::HTTP_2 && request.method() != Method::HEAD;
        let is_let_in = self.place.as_ref().is_none_or(|place| !place.is_for_health())
            || HEALTH.contains(&request.uri().path());
        let version = request.version();
        let answering = is_let_in.then(|| self.front.answer(request));
        async move {
            let response = match answering {
                Some(answering) => room.answer(answering).await,
                None => full(version),
            };
            Ok(response.map(|body| Answer::new(call.body(body, has_end), room, busy)))
        }
    }
}

/// The response if there is only room for health checks.
fn full(version: Version) -> Response<AnswerBody> {
    let body = Metered::uncounted(axum::body::Body::empty());
    let mut response = Response::new(AnswerBody::Right(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
