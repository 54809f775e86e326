//! Spans of the server's work, for a collector of OpenTelemetry.
//!
//! A call has a span from its request to the end of its response. An attempt has one from its start to its end, which
//! is made at the end: nothing about it is kept in memory, so an attempt that outlives the server, or ends at another
//! replica, still has its span. Both are in the submitter's trace. Without an endpoint there are no spans, and every
//! place that could make one costs a branch.
//!
//! Read next: `call` and `attempt` for the contents of spans, `exporter` for an unavailable collector.

use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, Key};
use opentelemetry_otlp::{ExporterBuildError, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::Request;
use tonic::transport::Channel;

use crate::operation::TraceContext;

mod attempt;
mod call;
mod exporter;
mod ids;

pub use call::{CallSpan, PathTemplate};
use exporter::Watched;
use ids::Ids;

const NAME: &str = env!("CARGO_PKG_NAME");
/// A collector that does not respond for this long counts as unavailable.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The library's name for a service that has none.
const UNKNOWN: &str = "unknown_service";

/// Makes spans, or none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Box<Tracing>>);

#[derive(Clone, Debug)]
struct Tracing {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// An endpoint that spans cannot be sent to.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be sent to {endpoint}")]
pub struct SpansError {
    endpoint: String,
    source: ExporterBuildError,
}

impl Spans {
    /// No spans.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether there are no spans.
    pub fn are_off(&self) -> bool {
        self.0.is_none()
    }

    /// Sends spans to a collector by OTLP over gRPC. The library handles sampling, the resource, header fields and the
    /// sizes of batches, by OpenTelemetry's variables.
    pub fn to(endpoint: &str, channel: Channel) -> Result<Self, SpansError> {
        let failed = |source| SpansError { endpoint: endpoint.to_owned(), source };
        let in_time = |mut request: Request<()>| {
            request.set_timeout(EXPORT_TIMEOUT);
            Ok(request)
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(channel)
            .with_interceptor(in_time);
        let exporter = Watched::new(exporter.build().map_err(failed)?, endpoint.to_owned());
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_id_generator(Ids::default())
            .with_resource(resource())
            .build();
        let tracer = provider.tracer(NAME);
        Ok(Self(Some(Box::new(Tracing { tracer, provider }))))
    }

    /// Sends the remaining spans, for at most `most`. Blocks.
    pub fn stop(&self, most: Duration) {
        if let Some(tracing) = &self.0 {
            // The log already has the failure.
            let _ = tracing.provider.shutdown_with_timeout(most);
        }
    }
}

/// The resource of the spans: this program, unless the environment names the service.
fn resource() -> Resource {
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let given = Resource::builder().build();
    let name = given.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with(UNKNOWN));
    let builder = match is_named {
        true => Resource::builder(),
        false => Resource::builder().with_service_name(NAME),
    };
    builder.with_attribute(version).build()
}

/// A stored context in the library's form.
fn remote(context: &TraceContext) -> SpanContext {
    let mut fields = context.parent.split('-').skip(1);
    let trace = fields.next().and_then(|id| TraceId::from_hex(id).ok());
    let span = fields.next().and_then(|id| SpanId::from_hex(id).ok());
    let flags = fields.next().and_then(|flags| u8::from_str_radix(flags, 16).ok());
    let (Some(trace), Some(span)) = (trace, span) else { return SpanContext::empty_context() };
    let flags = TraceFlags::new(flags.unwrap_or_default());
    SpanContext::new(trace, span, flags, true, context.state.parse().unwrap_or_default())
}

/// A context with this parent, or the start of a trace if it is invalid: the sampler would treat an invalid parent as
/// not sampled.
fn within(parent: SpanContext) -> Context {
    match parent.is_valid() {
        true => Context::new().with_remote_span_context(parent),
        false => Context::new(),
    }
}

/// A context in its stored form.
fn kept(context: &SpanContext) -> Option<TraceContext> {
    let (trace, span) = (context.trace_id(), context.span_id());
    let parent = format!("00-{trace}-{span}-{:02x}", context.trace_flags() & TraceFlags::SAMPLED);
    TraceContext::parse(&parent, &TraceState::header(context.trace_state()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_the_same_there_and_back() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(parent, "congo=t61rcWkgMzE,rojo=00f067").unwrap();
        let remote = remote(&context);
        assert!(remote.is_valid() && remote.is_remote() && remote.is_sampled());
        assert_eq!(kept(&remote), Some(context));
    }
}
