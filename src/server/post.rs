//! Assembles the parts of webhooks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;

use crate::catalogue::Catalogue;
use crate::config::ServeConfig;
use crate::engine::{Clock, Engine};
use crate::operation::secret::Secret;
use crate::service::webhooks::Webhooks;
use crate::store::Store;
use crate::webhooks::{Options, Post, Sender};

/// The webhooks in the store.
pub(super) async fn webhooks(
    config: &ServeConfig,
    catalogue: &mut Catalogue,
    store: &Arc<dyn Store>,
    secret: Secret,
) -> anyhow::Result<Webhooks> {
    let destinations = config.webhooks.allow.iter().cloned().collect();
    let opened = Webhooks::open(catalogue, Arc::clone(store), secret, destinations).await;
    opened.context("the webhooks of the store cannot be read")
}

/// The sender of deliveries.
pub(super) fn post(
    config: &ServeConfig,
    webhooks: Webhooks,
    engine: &Engine,
    clock: Arc<dyn Clock>,
    log_is_wanted: Arc<AtomicBool>,
) -> anyhow::Result<Post> {
    let of = &config.webhooks;
    let destinations = Arc::clone(&webhooks.destinations);
    let sender = Sender::new(destinations, of.timeout, of.ca_file.as_deref())?;
    let base = config.listen.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    Ok(Post {
        webhooks,
        clock,
        meters: Arc::clone(engine.meters()),
        sender,
        options: Options { retry_for: of.retry_for, timeout: of.timeout },
        base: base.into(),
        commits: engine.commits(),
        log_is_wanted,
    })
}
