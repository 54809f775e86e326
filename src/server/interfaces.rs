//! The configured interfaces of a server: gRPC, HTTP, pages, and the front before them.

use std::sync::Arc;

use super::callers::Callers;
use super::descriptors::Descriptors;
use super::front::Front;
use super::schemas::Schemas;
use crate::config::ServeConfig;
use crate::grpc::Services;
use crate::http::{self, Gate, Hosts, HttpOptions, Screen};
use crate::pages::{Pages, PagesOptions};
use crate::relay::Relay;
use crate::service::Service;

/// The front before the interfaces of `service`.
pub(super) fn front(
    config: &ServeConfig,
    service: &Service,
    callers: &Callers,
    relay: &Relay,
    descriptors: &Descriptors,
    schemas: Schemas,
) -> anyhow::Result<Front> {
    let options = HttpOptions {
        public_url: config.listen.public_url.clone(),
        cors_origins: config.browsers.cors_origins.clone(),
        relay: relay.clone(),
        dialects: config.dialects.clone(),
        metrics: !config.metrics.off && config.metrics.listen.is_none(),
        types: descriptors.types().clone(),
    };
    let hosts = Hosts::of(config.listen.public_url.as_deref(), &config.listen.allowed_hosts);
    Ok(Front {
        screen: Screen::new(hosts, service.clone(), options.clone()),
        authenticator: callers.authenticator.clone(),
        gate: Gate::new(service.clone(), options.clone()),
        grpc: Services::new(service, descriptors.reflection()),
        http: http::router(service.clone(), options),
        meters: Arc::clone(service.meters()),
        pages: pages(config, service, callers, schemas)?,
        service: service.clone(),
    })
}

fn pages(
    config: &ServeConfig,
    service: &Service,
    callers: &Callers,
    schemas: Schemas,
) -> anyhow::Result<Option<Pages>> {
    if !config.has_pages() {
        return Ok(None);
    }
    let options = PagesOptions {
        public_url: config.listen.public_url.clone(),
        store: config.store.url.to_string(),
        trace_url: config.tracing.trace_url.clone(),
        schemas,
    };
    Ok(Some(Pages::new(service.clone(), callers.authenticator.clone(), options)?))
}
