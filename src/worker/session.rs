//! One stream: hello, then assignments, cancels and acknowledgements from the server, heartbeats and reports to it,
//! until one side ends or nothing arrives any more. [`Work`] decides what to send; a session outlives its streams.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::work::Work;
use crate::client::{Client, ClientError};
use crate::proto::v1;
use crate::proto::v1::work_request::Message as Up;
use crate::proto::v1::work_response::Message as Down;

/// The time limit for opening a stream, including the server's first message.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// The number of messages on their way to the transport. Small, because a broken stream loses them.
const OUTBOUND: usize = 8;
/// After this many heartbeat intervals of silence the stream counts as dead, whatever TCP reports. The lease, of three
/// intervals or more, has not expired by then.
const SILENT_INTERVALS: f64 = 2.5;
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);
const MIN_HEARTBEAT: Duration = Duration::from_millis(20);

/// A stream on which a session has started.
pub(super) struct Link {
    outbound: mpsc::Sender<v1::WorkRequest>,
    inbound: Streaming<v1::WorkResponse>,
    session: v1::SessionStarted,
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The worker has nothing more to do.
    Finished,
    /// The server ended it, which is no failure.
    ByServer,
    /// It broke.
    Broken(ClientError),
}

impl Link {
    /// Opens a stream and starts or resumes a session on it.
    pub(super) async fn open(client: &Client, hello: v1::Hello) -> Result<Self, ClientError> {
        let late = |_elapsed| ClientError::local(Code::Unavailable, "no session in time");
        timeout(OPEN_TIMEOUT, Self::open_now(client, hello)).await.map_err(late)?
    }

    async fn open_now(client: &Client, hello: v1::Hello) -> Result<Self, ClientError> {
        let (outbound, requests) = mpsc::channel(OUTBOUND);
        let first = v1::WorkRequest { message: Some(Up::Hello(hello)) };
        outbound.try_send(first).map_err(|_full| closed())?;
        let response = client.workers().work(ReceiverStream::new(requests)).await?;
        let mut inbound = response.into_inner();
        let first = inbound.message().await?.and_then(|first| first.message);
        let Some(Down::Session(session)) = first else {
            return Err(ClientError::local(Code::Unavailable, "the server started no session"));
        };
        Ok(Self { outbound, inbound, session })
    }

    /// The session, as the server keeps it.
    pub(super) fn session(&self) -> &v1::SessionStarted {
        &self.session
    }

    /// Carries messages both ways until the stream or the work ends.
    pub(super) async fn serve(mut self, work: &mut Work) -> Ended {
        let beat = self.heartbeat_interval();
        let silence = beat.mul_f64(SILENT_INTERVALS);
        let mut ticks = interval_at(Instant::now() + beat, beat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at = Instant::now();
        let (mut beat_due, mut drain_sent, mut writable) = (false, false, true);
        while !work.is_finished() {
            let drain_due = work.is_draining() && !drain_sent;
            let has_message = beat_due || drain_due || work.has_message();
            let time = work.next_time();
            tokio::select! {
                message = self.inbound.message() => match message {
                    Ok(Some(message)) => {
                        heard_at = Instant::now();
                        receive(work, message);
                    }
                    Ok(None) => return Ended::ByServer,
                    Err(status) => return Ended::Broken(status.into()),
                },
                // Wait for room first, then take the message: a server that does not read delays nothing here.
                permit = self.outbound.reserve(), if writable && has_message => {
                    let Ok(permit) = permit else {
                        // The reason arrives on the other direction.
                        writable = false;
                        continue;
                    };
                    let message = if beat_due {
                        beat_due = false;
                        Some(Up::Heartbeat(v1::Heartbeat {}))
                    } else if drain_due {
                        drain_sent = true;
                        Some(Up::Drain(v1::WorkerDrain {}))
                    } else {
                        work.next_message().await
                    };
                    if message.is_some() {
                        permit.send(v1::WorkRequest { message });
                    }
                }
                _tick = ticks.tick() => beat_due = true,
                () = work.step() => {}
                () = at(time) => work.on_time(),
                () = sleep_until(heard_at + silence) => {
                    let why = "the server has fallen silent";
                    return Ended::Broken(ClientError::local(Code::Unavailable, why));
                }
            }
        }
        Ended::Finished
    }

    fn heartbeat_interval(&self) -> Duration {
        let given =
            self.session.heartbeat_interval.and_then(|given| Duration::try_from(given).ok());
        given.filter(|given| !given.is_zero()).unwrap_or(DEFAULT_HEARTBEAT).max(MIN_HEARTBEAT)
    }
}

fn receive(work: &mut Work, message: v1::WorkResponse) {
    match message.message {
        Some(Down::Assignment(assignment)) => work.assigned(assignment),
        Some(Down::Cancel(cancel)) => work.cancelled(cancel),
        Some(Down::Ack(ack)) => work.acked(ack),
        Some(Down::Drain(v1::ServerDrain {})) => {
            tracing::info!("the server is about to close the stream");
        }
        Some(Down::Heartbeat(_) | Down::Session(_)) | None => {}
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn closed() -> ClientError {
    ClientError::local(Code::Internal, "the stream's channel is closed")
}
