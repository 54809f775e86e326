//! All gRPC services, looked up by the path of a call.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::{BodyExt as _, StreamBody};
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{BoxFuture, Service as _};
use tonic::service::Routes;
use tonic_health::pb::health_server::{self, HealthServer};

use super::admin::AdminRpc;
use super::gate;
use super::google::GoogleRpc;
use super::health::HealthRpc;
use super::operations::OperationsRpc;
use super::reflection::{self, Reflection};
use super::timeout;
use super::workers::WorkersRpc;
use crate::metrics::{Begun, Metered};
use crate::proto::google::longrunning::operations_server as google;
use crate::proto::v1::{admin_server, operations_server, workers_server};
use crate::service::{Caller, Identity, Origin, Service};

const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// All services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    operations: operations_server::OperationsServer<OperationsRpc>,
    workers: workers_server::WorkersServer<WorkersRpc>,
    admin: admin_server::AdminServer<AdminRpc>,
    google: google::OperationsServer<GoogleRpc>,
    health: HealthServer<HealthRpc>,
    reflection: Reflection,
    service: Service,
}

/// One of the services.
#[derive(Clone, Copy, Debug)]
enum Name {
    Operations,
    Workers,
    Admin,
    Google,
    Health,
    Reflection,
}

impl Name {
    /// The service of this method's path; the service may not know the method.
    fn of(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let name = match service {
            operations_server::SERVICE_NAME => Self::Operations,
            workers_server::SERVICE_NAME => Self::Workers,
            admin_server::SERVICE_NAME => Self::Admin,
            google::SERVICE_NAME => Self::Google,
            health_server::SERVICE_NAME => Self::Health,
            _ if reflection::SERVICE_NAMES.contains(&service) => Self::Reflection,
            _ => return None,
        };
        (!method.is_empty()).then_some(name)
    }

    /// Whether the service needs to know its caller; anybody may ask for health and reflection.
    const fn has_callers(self) -> bool {
        match self {
            Self::Operations | Self::Workers | Self::Admin | Self::Google => true,
            Self::Health | Self::Reflection => false,
        }
    }
}

impl Services {
    /// The services over `service`, with `reflection`.
    pub fn new(service: &Service, reflection: &Reflection) -> Self {
        let max_message = service.limits().max_call_bytes();
        let operations = OperationsRpc::new(service.clone());
        let operations = operations_server::OperationsServer::new(operations)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(max_message)
            .max_encoding_message_size(usize::MAX);
        let workers = workers_server::WorkersServer::new(WorkersRpc::new(service.clone()))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(max_message)
            .max_encoding_message_size(usize::MAX);
        let admin = admin_server::AdminServer::new(AdminRpc::new(service.clone()))
            .accept_compressed(CompressionEncoding::Gzip);
        let google = google::OperationsServer::new(GoogleRpc::new(service.clone()))
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
            .max_encoding_message_size(usize::MAX);
        let health = HealthServer::new(HealthRpc::new(service.clone()))
            .accept_compressed(CompressionEncoding::Gzip);
        let (reflection, service) = (reflection.clone(), service.clone());
        Self { operations, workers, admin, google, health, reflection, service }
    }

    /// Whether a path belongs to a service, whether or not the method is known.
    pub fn have(path: &str) -> bool {
        Name::of(path).is_some()
    }

    /// Begins a call.
    pub fn call(&self, mut request: Request) -> Call {
        let time = timeout(request.headers());
        let begun = self.service.meters().calls.rpc(request.uri().path());
        let name = Name::of(request.uri().path());
        if name.is_some_and(Name::has_callers)
            && let Err(refusal) = gate::check(&mut request)
        {
            let answer = Box::pin(async move { Ok(refusal.into_http()) });
            return Call { answer, time, begun };
        }
        let answer = match name {
            Some(Name::Operations) => self.operations.clone().call(request),
            Some(Name::Workers) => self.workers.clone().call(request),
            Some(Name::Admin) => self.admin.clone().call(request),
            Some(Name::Google) => self.google.clone().call(request),
            Some(Name::Health) => self.health.clone().call(request),
            Some(Name::Reflection) => self.reflection.call(self.ending(request)),
            None => Box::pin(async { Ok(Status::unimplemented("").into_http()) }),
        };
        Call { answer, time, begun }
    }

    /// Ends the client's messages when the server closes its connections, for services whose streams last as long as
    /// the client likes; the services then end their responses.
    fn ending(&self, request: Request) -> Request {
        let service = self.service.clone();
        request.map(|body| {
            let frames = stream::unfold((body, service), |(mut body, service)| async move {
                tokio::select! {
                    biased;
                    () = service.closing() => None,
                    frame = body.frame() => Some((frame?, (body, service))),
                }
            });
            Body::new(StreamBody::new(frames))
        })
    }
}

/// The services for tonic's own server, without credentials.
impl From<Services> for Routes {
    fn from(services: Services) -> Self {
        let everybody = Identity::of(Ok(Caller::anonymous()), Origin::default(), false);
        let call = move |mut request: Request| {
            request.extensions_mut().insert(everybody.clone());
            let call = services.call(request);
            async move { call.answer().await.map(Body::new) }
        };
        Router::new().fallback(call).into()
    }
}

/// A running call.
pub struct Call {
    answer: BoxFuture<Response<tonic::body::Body>, Infallible>,
    time: Option<Duration>,
    begun: Begun,
}

impl Call {
    /// The response. A call whose response has not begun within its `grpc-timeout` ends; streams that have begun
    /// enforce the limit themselves.
    pub async fn answer(self) -> Response<Metered<tonic::body::Body>> {
        let Ok(mut response) = match self.time {
            None => self.answer.await,
            Some(time) => {
                let late = || Status::deadline_exceeded("the call's time is up").into_http();
                tokio::time::timeout(time, self.answer).await.unwrap_or_else(|_| Ok(late()))
            }
        };
        // Announces the accepted compressions, for clients that ask before they compress.
        let accepted = HeaderValue::from_static("identity,gzip");
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, accepted);
        let (head, body) = response.into_parts();
        let body = Metered::rpc(&head.headers, body, self.begun);
        Response::from_parts(head, body)
    }
}
