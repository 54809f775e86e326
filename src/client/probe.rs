//! Probes of the way to the server rather than of operations: whether it serves, what its clock says, and how proxies
//! treat a stream.

use std::time::Duration;

use http::header::{DATE, VIA};
use tokio::time::{Instant, timeout};
use tonic::{Code, Response};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{CALL_TIMEOUT, Client, ClientError};
use crate::proto::v1::WatchOperationsRequest;
use crate::proto::v1::watch_operations_response::Type;

/// A server's answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it takes new work.
    pub is_serving: bool,
    /// The `Date` of the server or of a proxy, to the second.
    pub date: Option<String>,
    /// The proxies' `Via` field.
    pub via: Option<String>,
    /// How long the response took.
    pub took: Duration,
}

/// The result of a stream's probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamProbe {
    /// The time from the request to the first message.
    pub first_after: Duration,
    /// The time from there to the first heartbeat; `None` if the limit or the end came first.
    pub heartbeat_after: Option<Duration>,
    /// The time from there to the end of the stream, if that came first.
    pub ended_after: Option<Duration>,
}

impl Client {
    /// Calls `grpc.health.v1` once.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let mut rpc = HealthClient::with_interceptor(self.channel.clone(), self.headers.clone());
        let asked = Instant::now();
        let answer = rpc.check(HealthCheckRequest::default());
        let late = |_| ClientError::local(Code::DeadlineExceeded, "no response in time");
        let answer: Response<_> = timeout(CALL_TIMEOUT, answer).await.map_err(late)??;
        let field = |name: http::HeaderName| {
            answer.metadata().get(name.as_str())?.to_str().ok().map(str::to_owned)
        };
        let (date, via) = (field(DATE), field(VIA));
        let is_serving = answer.into_inner().status() == ServingStatus::Serving;
        Ok(Health { is_serving, date, via, took: asked.elapsed() })
    }

    /// Watches operations until a heartbeat arrives, or for `patience` at most; changes of operations count as
    /// heartbeats too.
    pub async fn probe_stream(&self, patience: Duration) -> Result<StreamProbe, ClientError> {
        let request = WatchOperationsRequest { skip_current: true, ..Default::default() };
        let asked = Instant::now();
        let late = |_| ClientError::local(Code::DeadlineExceeded, "no message of a stream arrives");
        let mut rpc = self.operations();
        let opened = timeout(patience, rpc.watch_operations(request)).await;
        let mut stream = opened.map_err(late)??.into_inner();
        let ended = || ClientError::local(Code::Unavailable, "a stream ended at once");
        let left = patience.saturating_sub(asked.elapsed());
        timeout(left, stream.message()).await.map_err(late)??.ok_or_else(ended)?;
        let began = Instant::now();
        let silence = async {
            loop {
                match stream.message().await {
                    Ok(Some(message)) if message.r#type() == Type::Synced => {}
                    Ok(Some(_)) => return (Some(began.elapsed()), None),
                    Ok(None) | Err(_) => return (None, Some(began.elapsed())),
                }
            }
        };
        let (heartbeat_after, ended_after) = timeout(patience, silence).await.unwrap_or_default();
        Ok(StreamProbe { first_after: began - asked, heartbeat_after, ended_after })
    }
}
