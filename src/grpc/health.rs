//! `grpc.health.v1`: whether this server accepts work, and whether it is alive.
//!
//! A supervisor that restarts unhealthy servers must check `liveness`, because a restart frees no disk space.

use std::pin::Pin;

use futures_util::stream;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::service::Service;

/// The services whose status is whether new work is accepted; the empty name is the server as a whole.
const READINESS: [&str; 4] =
    ["", "longrun.v1.Operations", "longrun.v1.Workers", "google.longrunning.Operations"];
/// The service that is serving as long as the server responds.
const LIVENESS: &str = "liveness";

/// The health service.
#[derive(Clone, Debug)]
pub(super) struct HealthRpc {
    service: Service,
}

impl HealthRpc {
    pub(super) fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl Health for HealthRpc {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.service, &request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("there is no such service")),
            status => Ok(Response::new(response(status))),
        }
    }

    /// Sends each change of the status, and repeats it during silence, because proxies cut silent streams. An unknown
    /// service stays unknown, and the stream open. Ends when connections are closed, not when the server begins to stop
    /// or at an age, because clients reopen an ended health stream and take the server for unhealthy meanwhile.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let (service, health) = (self.service.clone(), self.service.store_health());
        let watch = (service, health, name, None);
        let changes = stream::unfold(watch, |(service, mut health, name, mut told)| async move {
            loop {
                health.mark_unchanged();
                let now = status(&service, &name);
                if told != Some(now) {
                    return Some((Ok(response(now)), (service, health, name, Some(now))));
                }
                tokio::select! {
                    biased;
                    () = service.stopping(), if !service.is_stopping() => {}
                    () = service.closing() => return None,
                    changed = health.changed() => changed.ok()?,
                    () = service.silence() => told = None,
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn status(service: &Service, name: &str) -> ServingStatus {
    match name {
        LIVENESS => ServingStatus::Serving,
        name if !READINESS.contains(&name) => ServingStatus::ServiceUnknown,
        _ if service.ready().is_ok() => ServingStatus::Serving,
        _ => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
