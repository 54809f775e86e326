//! Reads bodies of requests: small ones whole, large ones in pieces into a payload.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::problem::Problem;
use crate::operation::Payload;
use crate::service::{Reason, Service, ServiceError};

/// The minimum average speed of bodies, in bytes per second; slower ones exceed their time limit.
const LEAST_RATE: u64 = 16 << 10;

/// A body, and its time limit.
struct Arriving<'a> {
    service: &'a Service,
    body: Body,
    limit: usize,
    came: u64,
    deadline: Instant,
}

impl<'a> Arriving<'a> {
    fn begin(service: &'a Service, body: Body, limit: usize) -> Result<Self, Problem> {
        let arriving = Self {
            service,
            body,
            limit,
            came: 0,
            deadline: Instant::now() + service.limits().body_timeout,
        };
        // A body whose known length is too large is not read.
        if arriving.body.size_hint().lower() > limit as u64 {
            return Err(arriving.too_large());
        }
        Ok(arriving)
    }

    fn too_large(&self) -> Problem {
        let message = format!("the body must be at most {} bytes", self.limit);
        ServiceError::new(Reason::PayloadTooLarge, message).into()
    }

    /// The next piece; fails if the body is too large or too slow, or if the server stops.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout_at(self.deadline, self.body.frame()) => frame,
                () = self.service.closing() => return Err(ServiceError::stopping().into()),
            };
            let piece = match frame {
                Ok(None) => return Ok(None),
                // Trailers have no meaning here.
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => piece,
                    Err(_) => continue,
                },
                Ok(Some(Err(_))) => {
                    return Err(
                        ServiceError::invalid_field("body", "must arrive completely").into()
                    );
                }
                Err(_elapsed) => {
                    let most = humantime::format_duration(self.service.limits().body_timeout);
                    let rate = LEAST_RATE >> 10;
                    let message = format!("the body must arrive within {most}, or at {rate} KiB/s");
                    return Err(ServiceError::new(Reason::RequestTimeout, message).into());
                }
            };
            self.came += piece.len() as u64;
            if self.came > self.limit as u64 {
                return Err(self.too_large());
            }
            self.deadline += Duration::from_secs_f64(piece.len() as f64 / LEAST_RATE as f64);
            return Ok(Some(piece));
        }
    }
}

/// The whole body, at most `limit` bytes, in memory.
pub(super) async fn read(service: &Service, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut arriving = Arriving::begin(service, body, limit)?;
    let Some(first) = arriving.next().await? else { return Ok(Bytes::new()) };
    let Some(second) = arriving.next().await? else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second);
    while let Some(piece) = arriving.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Whether the body says anything. `{}` does not: some clients send it with every request.
pub(super) async fn has_contents(service: &Service, body: Body) -> Result<bool, Problem> {
    /// The maximum size of a body that may say nothing, in bytes.
    const MOST: usize = 1_024;
    match read(service, body, MOST).await {
        Ok(text) => Ok(!matches!(text.trim_ascii(), b"" | b"{}")),
        Err(problem) => match problem.error() {
            Some(error) if error.reason == Reason::PayloadTooLarge => Ok(true),
            _ => Err(problem),
        },
    }
}

/// The whole body as a payload of at most `limit` bytes; a large one is never completely in memory.
pub(super) async fn take_in(
    service: &Service,
    body: Body,
    limit: usize,
    content_type: &str,
) -> Result<Payload, Problem> {
    let limit = limit.min(service.limits().max_payload_bytes);
    let mut arriving = Arriving::begin(service, body, limit)?;
    let mut intake = service.intake(limit);
    loop {
        let taken = match arriving.next().await {
            Ok(None) => return Ok(intake.finish(content_type).await?),
            Ok(Some(piece)) => intake.write(piece).await.map_err(Problem::from),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = taken {
            intake.abort().await;
            return Err(problem);
        }
    }
}
