//! Requests under a mount: triggered ones become operations, all others pass straight through.
//!
//! Decodes and responds; [`crate::relay`] decides which requests go to the upstream, and how.

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use tonic::transport::server::TcpConnectInfo;

use super::arrival::Arrival;
use super::call::{Call, caller_by_mount};
use super::documents::Answer;
use super::headers::{PREFER, vary_by};
use super::links::Links;
use super::problem::Problem;
use super::{Http, Verbatim, cors};
use crate::operation::TenantId;
use crate::relay::location::Place;
use crate::relay::{Mounted, Over, UpstreamError, fields, upstream_target};
use crate::service::{Action, Reason, ServiceError};

mod claim;
mod submit;
mod upload;

use claim::Claim;

/// A parsed request under a mount.
struct Relayed<'a> {
    mounted: &'a Mounted,
    claim: Claim<'a>,
}

impl Relayed<'_> {
    /// The tenant of requests without credentials for this server.
    fn tenant(&self) -> Option<&TenantId> {
        let by_dialect = self.claim.visit.as_ref().and_then(|visit| visit.mount.tenant.as_ref());
        by_dialect.or(self.mounted.mount.tenant.as_ref())
    }
}

/// Handles a request that matches no route of this server; returns it if it is under no mount either.
pub(super) async fn answer(http: &Http, request: Request) -> Result<Response, Request> {
    let path = request.uri().path().to_owned();
    let Some((mounted, rest)) = http.options.relay.find(&path) else { return Err(request) };
    let (parts, body) = request.into_parts();
    let mut answer = match claim::read(http, mounted, rest, &parts) {
        Ok(claim) => {
            let relayed = Relayed { mounted, claim };
            match serve(http, &relayed, parts, body).await {
                Ok(response) => response,
                Err(problem) => match &relayed.claim.visit {
                    Some(visit) => super::dialect::refused(http, visit, problem),
                    None => problem.into_response(),
                },
            }
        }
        Err(problem) => problem.into_response(),
    };
    if !mounted.mount.trigger.origins.is_empty() {
        let origins = cors::Origins(mounted.mount.trigger.origins.clone().into());
        answer.extensions_mut().insert(origins);
    }
    Ok(answer)
}

async fn serve(http: &Http, relayed: &Relayed<'_>, parts: Parts, body: Body) -> Answer {
    refuse_upgrades(&parts)?;
    if relayed.claim.is_asynchronous {
        become_operation(http, relayed, parts, body).await
    } else {
        pass(http, relayed, parts, body).await
    }
}

/// Refuses a connection that would become another protocol, because that cannot be relayed. An offer of HTTP/2 is
/// ignored, as HTTP allows.
fn refuse_upgrades(parts: &Parts) -> Result<(), Problem> {
    let offers = parts.headers.get_all(UPGRADE).iter();
    let other = offers.into_iter().any(|offer| !offer.as_bytes().eq_ignore_ascii_case(b"h2c"));
    if other || parts.method == Method::CONNECT {
        let message = "upgrades, WebSockets and tunnels are not relayed";
        return Err(ServiceError::new(Reason::UpgradeRefused, message).into());
    }
    Ok(())
}

async fn become_operation(http: &Http, relayed: &Relayed<'_>, parts: Parts, body: Body) -> Answer {
    // Whatever the method, because an operation is created.
    if cors::is_foreign(http, &parts, &relayed.mounted.mount.trigger.origins) {
        return Err(cors::refusal());
    }
    let call = Call::by_mount(http, &parts, relayed.tenant())?;
    let policy = &relayed.mounted.mount.headers;
    let mut headers = onward_headers(http, relayed, &parts);
    let own = relayed.claim.visit.as_ref().map(|visit| &visit.mount.credentials);
    fields::strip_credentials(&mut headers, policy, own);
    strip_preferences(&mut headers);
    submit::submit(call, relayed, headers, body).await
}

async fn pass(http: &Http, relayed: &Relayed<'_>, parts: Parts, body: Body) -> Answer {
    let mount = &relayed.mounted.mount;
    // A browser sends a preflight without credentials.
    if !cors::is_preflight(&parts.method, &parts.headers) {
        let action = if parts.method.is_safe() { Action::Inspect } else { Action::Submit };
        caller_by_mount(&parts, relayed.tenant(), action)?;
    }
    let mut headers = onward_headers(http, relayed, &parts);
    let target = upstream_target(mount, &relayed.claim.onward.target);
    let target: PathAndQuery =
        target.map_err(|_| ServiceError::invalid_field("path", "must be a path and query"))?;
    let (body, watched) = upload::watch(body, http.service.limits().body_timeout);
    fields::frame(&mut headers, body.size_hint().exact());
    let links = Links::new(http.options.public_url.as_deref(), &parts);
    let host = host(&parts);
    let place = Place {
        mount,
        base: links.base(),
        host: Some(&host),
        target: &relayed.claim.onward.target,
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.headers_mut() = headers;
    let upstream = &relayed.mounted.upstream;
    let limit = mount.limits.response_timeout;
    let answer = tokio::select! {
        answer = upstream.exchange(request, target, Over::Any) => answer,
        () = watched.upstream_late(limit) => Err(UpstreamError::Timeout(limit)),
    };
    let mut response = match (answer, watched.refusal()) {
        (Ok(response), _) => response,
        (Err(_), Some(refusal)) => return Err(refusal.into()),
        (Err(error), None) => return Err(unanswered(error)),
    };
    let version = std::mem::replace(response.version_mut(), http::Version::HTTP_11);
    fields::strip_hop_by_hop(response.headers_mut());
    fields::add_via(response.headers_mut(), version);
    place.rewrite(response.headers_mut());
    if relayed.claim.prefer {
        // A client that prefers it gets an operation instead.
        vary_by(response.headers_mut(), "prefer");
    }
    response.extensions_mut().insert(Verbatim);
    Ok(response)
}

fn unanswered(error: UpstreamError) -> Problem {
    let reason = match error {
        UpstreamError::Unreachable(_) | UpstreamError::Broken(_) | UpstreamError::Unreadable(_) => {
            Reason::UpstreamUnreachable
        }
        UpstreamError::Timeout(_) => Reason::UpstreamTimeout,
    };
    tracing::warn!(error = %error, "a request could not be relayed");
    ServiceError::new(reason, error.to_string()).into()
}

/// The header fields to pass on, with those that a gateway adds: the same whether the request passes through or is
/// stored first.
fn onward_headers(http: &Http, relayed: &Relayed<'_>, parts: &Parts) -> HeaderMap {
    let mount = &relayed.mounted.mount;
    let mut headers = parts.headers.clone();
    fields::strip_hop_by_hop(&mut headers);
    fields::join_cookies(&mut headers);
    let peer = parts.extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let host = host(parts);
    let scheme = match http.options.public_url.as_deref() {
        Some(url) if url.starts_with("https:") => "https",
        _ => Arrival::scheme(&parts.extensions),
    };
    fields::add_forwarded(&mut headers, peer.map(|peer| peer.ip()), &host, scheme);
    fields::add_via(&mut headers, parts.version);
    fields::apply_policy(&mut headers, &mount.headers);
    let preserved = HeaderValue::try_from(host).ok().filter(|host| !host.is_empty());
    headers.extend(preserved.filter(|_| mount.preserve_host).map(|host| (HOST, host)));
    headers
}

/// The host that the request names; empty if it names none.
fn host(parts: &Parts) -> String {
    let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    let field = || parts.headers.get(HOST)?.to_str().ok().map(str::to_owned);
    authority.or_else(field).unwrap_or_default()
}

/// Removes the preferences that this server has granted itself; the upstream reads the others.
fn strip_preferences(headers: &mut HeaderMap) {
    let fields: Vec<HeaderValue> = headers.get_all(&PREFER).iter().cloned().collect();
    headers.remove(&PREFER);
    for field in fields {
        let Ok(text) = field.to_str() else { continue };
        let kept: Vec<&str> = super::headers::others_preferred(text).map(str::trim).collect();
        let value = HeaderValue::try_from(kept.join(", ")).ok();
        headers.extend(value.filter(|it| !it.is_empty()).map(|it| (PREFER.clone(), it)));
    }
}
