//! The front: the one road of every request to gRPC or to HTTP.
//!
//! Four steps in this order: a span for the log, the screen, the caller, and the interface, where gRPC's own paths go
//! before HTTP's router. They are one function and not a chain of middlewares, because each middleware boxes a future,
//! clones the router and moves the request: together as much CPU time as a whole gRPC call.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::Uri;
use http::request::Parts;
use http_body_util::Either;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::{Request, Response as HttpResponse};
use tower::{BoxError, ServiceExt as _};
use tracing::Instrument as _;

use crate::auth::{self, Authenticator};
use crate::grpc::{self, Services};
use crate::http::{Gate, Screen};
use crate::metrics::{Begun, Metered, Meters, Route};
use crate::pages::Pages;
use crate::service::{ConnectionTenants, Identity, RefusedByLimit, Service};
use crate::spans::PathTemplate;
use crate::telemetry;

/// The body of a response, from gRPC's services or from HTTP.
pub(super) type AnswerBody = Either<Metered<tonic::body::Body>, Metered<Body>>;

/// The interfaces behind every connection.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) screen: Screen,
    pub(super) authenticator: Authenticator,
    pub(super) gate: Gate,
    pub(super) grpc: Services,
    pub(super) http: Router,
    pub(super) meters: Arc<Meters>,
    pub(super) pages: Option<Pages>,
    pub(super) service: Service,
}

/// A request whose caller is known, or not yet.
enum Entered {
    Routed(Routed),
    /// Identifying its caller takes time.
    Unknown(BoxFuture<'static, Routed>),
}

/// The caller and the call of a request, for the record of a limit's refusal.
struct Asked {
    identity: Identity,
    uri: Uri,
}

/// A response, finished or not, to a request whose caller is known; the screen asks for none.
struct Routed {
    answer: Answering,
    asked: Option<Box<Asked>>,
}

enum Answering {
    Grpc(grpc::Call),
    Http(Begun, BoxFuture<'static, Response>),
}

impl Asked {
    /// Records the call if a limit refused it.
    fn record(&self, response: &HttpResponse<AnswerBody>) {
        let marked = response.extensions().get::<RefusedByLimit>().cloned();
        if let Some(refused) = marked.or_else(|| grpc::refused_by_limit(response.headers())) {
            self.identity.limited(&telemetry::without_tokens(self.uri.path()), &refused);
        }
    }
}

impl Front {
    /// Answers one request.
    pub(super) fn answer<B>(
        self: &Arc<Self>,
        request: Request<B>,
    ) -> impl Future<Output = HttpResponse<AnswerBody>> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let span = telemetry::request_span(
            request.method(),
            request.uri(),
            auth::request_id(request.headers()),
        );
        let (mut parts, body) = request.into_parts();
        let mut traced = self.service.spans().call(&mut parts, telemetry::without_tokens);
        let entered = self.enter(parts, Body::new(body));
        let meters = Arc::clone(&self.meters);
        let answer = async move {
            let routed = match entered {
                Entered::Routed(routed) => routed,
                Entered::Unknown(routed) => routed.await,
            };
            let mut response = match routed.answer {
                Answering::Grpc(call) => {
                    call.answer().await.map(|body| Either::Left(body.within(traced)))
                }
                Answering::Http(mut begun, answer) => {
                    let response = answer.await;
                    let route = response.extensions().get::<Route>().copied();
                    meters.calls.answered(&mut begun, route, response.status());
                    if let Some(traced) = &mut traced {
                        let template = response.extensions().get::<PathTemplate>();
                        traced.responded(template, response.status());
                    }
                    response.map(|body| Either::Right(Metered::request(body, begun).within(traced)))
                }
            };
            grpc::explain(response.headers_mut());
            if let Some(asked) = routed.asked {
                asked.record(&response);
            }
            telemetry::log_answer(response.status(), response.headers());
            response
        };
        answer.instrument(span)
    }

    fn enter(self: &Arc<Self>, mut parts: Parts, body: Body) -> Entered {
        if let Some(refusal) = self.screen.refusal(&parts) {
            let answer = self.over_http(ready(refusal));
            return Entered::Routed(Routed { answer, asked: None });
        }
        if let Some(pages) = self.pages_for(&parts) {
            pages.bring_credentials(&mut parts);
        }
        match self.authenticator.identify_at_once(&parts) {
            Some(identity) => Entered::Routed(self.identified(parts, body, identity)),
            None => {
                let front = Arc::clone(self);
                Entered::Unknown(Box::pin(async move {
                    let identity = front.authenticator.identify(&parts).await;
                    front.identified(parts, body, identity)
                }))
            }
        }
    }

    fn identified(&self, mut parts: Parts, body: Body, identity: Identity) -> Routed {
        let asked = Asked { identity: identity.clone(), uri: parts.uri.clone() };
        self.mark(&mut parts, identity);
        Routed { answer: self.route(parts, body), asked: Some(Box::new(asked)) }
    }

    /// The pages, if the request is for one.
    fn pages_for(&self, parts: &Parts) -> Option<&Pages> {
        self.pages.as_ref().filter(|pages| pages.take(parts))
    }

    /// Marks a request with its caller, or with a refusal if the tenant has too many connections.
    fn mark(&self, parts: &mut Parts, identity: Identity) {
        let connection = parts.extensions.get::<Arc<ConnectionTenants>>();
        let connected = match (identity.tenant(), connection) {
            (Some(tenant), Some(connection)) => self.service.connect(tenant, connection),
            _ => Ok(()),
        };
        let identity = match connected {
            Ok(()) => identity,
            Err(error) => identity.refused(error),
        };
        auth::mark(parts, identity);
    }

    /// Passes the request to the interface of its path.
    fn route(&self, parts: Parts, body: Body) -> Answering {
        if let Some(pages) = self.pages_for(&parts) {
            let answer = pages.answer(Request::from_parts(parts, body));
            return self.over_http(async move {
                let mut response = answer.await;
                response.extensions_mut().insert(Route("pages"));
                response
            });
        }
        let is_grpcs = Services::have(parts.uri.path());
        let is_call = is_grpcs && Gate::is_open_to(&parts);
        let request = Request::from_parts(parts, body);
        if is_call {
            return Answering::Grpc(self.grpc.call(request));
        }
        if is_grpcs {
            let (gate, grpc) = (self.gate.clone(), self.grpc.clone());
            return self.over_http(async move {
                let mut response = gate.answer(request, |call| grpc.call_from_web(call)).await;
                response.extensions_mut().insert(Route("grpc-web"));
                response
            });
        }
        let http = self.http.clone();
        self.over_http(async move {
            let Ok::<_, Infallible>(response) = http.oneshot(request).await;
            response
        })
    }

    fn over_http(&self, answer: impl Future<Output = Response> + Send + 'static) -> Answering {
        Answering::Http(self.meters.calls.request(), Box::pin(answer))
    }
}
