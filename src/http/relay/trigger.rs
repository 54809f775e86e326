//! What asks for an operation: the parameter or preference of the mount, or of the dialect over it.

use http::request::Parts;

use super::super::headers::Preferences;
use crate::config::dialect::Mount as Dialect;
use crate::config::relay::Mount;
use crate::relay::target;

/// A query as it was asked, read.
pub(super) struct Asked {
    /// What is left of it for the upstream: without what is for this server.
    pub(super) query: Option<String>,
    /// The parameter that asks for an operation, as it was given.
    pub(super) trigger: Option<String>,
    /// Whether an operation is asked for.
    pub(super) is_asynchronous: bool,
}

impl Asked {
    pub(super) fn read(parts: &Parts, mount: &Mount, dialect: Option<&Dialect>) -> Self {
        let (prefer, name, values, share) = match dialect.map(|mount| &mount.dialect.trigger) {
            Some(its) => (its.prefer, &its.query, &its.values, its.share.as_deref()),
            None => (mount.trigger.prefer, &mount.trigger.query, &mount.trigger.values, None),
        };
        let prefers = prefer && Preferences::parse(&parts.headers).respond_async;
        let query = parts.uri.query();
        let is_trigger = |pair: &&str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            name.as_deref() == Some(key) && values.iter().any(|known| known == value)
        };
        let trigger = query.and_then(|query| query.split('&').find(is_trigger));
        let (Some(query), Some(name), Some(trigger)) = (query, name, trigger) else {
            let query = query.map(str::to_owned);
            return Self { query, trigger: None, is_asynchronous: prefers };
        };
        let (mut kept, _) = target::without_trigger(query, name, values);
        if let Some(share) = share {
            let is_share = |pair: &&str| pair.split('=').next() == Some(share);
            let others: Vec<&str> = kept.split('&').filter(|pair| !is_share(pair)).collect();
            kept = others.join("&");
        }
        Self {
            query: Some(kept).filter(|kept| !kept.is_empty()),
            trigger: Some(trigger.to_owned()),
            is_asynchronous: true,
        }
    }
}
