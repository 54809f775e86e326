//! One connection: its limits, its requests, its end.
//!
//! Takes connections as they come, from whichever listener; it accepts none and knows no route.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, Method, Request, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::Front;
use super::opening::Opening;
use super::resets::{Call, ResetBudget};
use super::{CONNECTION_WINDOW_BYTES, MAX_CONCURRENT_STREAMS, STREAM_WINDOW_BYTES};

// Long streams must outlive proxies, which cut what is silent for a minute, and notice dead peers.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(25);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest header, the request line included: room for what browsers send, large cookies included. HTTP/1
/// takes 100 fields besides.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// Streams that a client has reset before they were accepted, at once: while the server is held up they queue, as
/// many as a client can have open. [`ResetBudget`] limits resets over time.
const MAX_PENDING_RESETS: usize = MAX_CONCURRENT_STREAMS as usize;
/// Streams that broke a rule of the protocol, in the life of a connection. DATA of a call that was answered before it
/// was sent whole counts as well, and proxies keep connections for long.
const MAX_ERROR_RESETS: usize = 16_384;
/// Time for a connection that has spent its [`ResetBudget`] to hear so.
const CUT_OFF_TIME: Duration = Duration::from_secs(1);

/// How connections are served. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    builder: auto::Builder<Tracked>,
    front: Arc<Front>,
    header_timeout: Duration,
    tasks: TaskTracker,
}

/// Runs what a connection has to run beside itself, which is its streams, as tasks that are waited for.
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
    /// Connections to `front`, which have `header_timeout` for the header of each request, and may be idle for
    /// as long between requests of HTTP/1.
    pub(super) fn new(front: Front, header_timeout: Duration) -> Self {
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
        Self { builder, front: Arc::new(front), header_timeout, tasks }
    }

    /// Serves one connection to its end, or until `closing` and the end of the requests under way. Each
    /// request carries `origin`.
    pub(super) fn serve<I>(
        &self,
        io: I,
        origin: Extensions,
        closing: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { builder, front, header_timeout, tasks } = self.clone();
        let resets = ResetBudget::new();
        let budget = Arc::clone(&resets);
        let answer = move |mut request: Request<Incoming>| {
            request.extensions_mut().extend(origin.clone());
            let call = Call::new(&budget);
            // Over HTTP/1 a call that is given up takes its connection along, and a body of known length is not
            // asked for its end.
            let has_end = request.version() == Version::HTTP_2 && request.method() != Method::HEAD;
            let answering = front.answer(request);
            async move {
                let response = answering.await;
                Ok::<_, Infallible>(response.map(|body| call.body(body, has_end)))
            }
        };
        tasks.track_future(async move {
            let (io, opened) = Opening::new(io);
            let service = hyper::service::service_fn(answer);
            let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
            let mut asked_to_close = pin!(closing.cancelled());
            let mut opening_time = pin!(tokio::time::sleep(header_timeout));
            let mut cut_off_time = pin!(tokio::time::sleep(Duration::MAX));
            let (mut is_closing, mut is_opening, mut is_cut_off) = (false, true, false);
            loop {
                tokio::select! {
                    served = &mut serving => {
                        if let Err(error) = served {
                            tracing::debug!(error = %error, "a connection failed");
                        }
                        break;
                    }
                    () = &mut asked_to_close, if !is_closing => {
                        is_closing = true;
                        serving.as_mut().graceful_shutdown();
                    }
                    () = resets.exceeded(), if !is_cut_off => {
                        tracing::info!("a connection resets more calls than it may");
                        is_cut_off = true;
                        serving.as_mut().graceful_shutdown();
                        cut_off_time.set(tokio::time::sleep(CUT_OFF_TIME));
                    }
                    () = &mut cut_off_time, if is_cut_off => break,
                    () = &mut opening_time, if is_opening => {
                        is_opening = false;
                        if !opened.is_true() {
                            tracing::debug!("a connection said nothing");
                            break;
                        }
                    }
                }
            }
        })
    }

    /// The time for what comes before a request.
    pub(super) fn header_timeout(&self) -> Duration {
        self.header_timeout
    }

    /// Waits until nothing of any connection runs any more.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
