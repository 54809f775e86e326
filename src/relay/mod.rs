//! Between a mount and its upstream: which requests go there, with which header fields, over which connections; and
//! the execution of requests that became operations. Handlers that are HTTP endpoints go the same way.
//!
//! Upstream hosts come from the configuration only, never from a request. This module submits nothing and responds
//! to no client: `http` does, and workers execute.
//!
//! Read next: `target` for the destination of a request, `fields` for its header, `execute` for operations,
//! `recording` for what they keep of the response, `endpoint` for handlers.

use http::Method;
use http::uri::{InvalidUri, PathAndQuery};

use crate::config::relay::Mount;

mod connect;
mod devious;
pub mod endpoint;
pub mod execute;
pub mod fields;
mod guard;
pub mod location;
mod recording;
pub mod target;
pub mod upstream;
mod way;

pub use connect::TrustError;
pub use devious::Devious;
pub use endpoint::retry_after;
pub use target::Onward;
pub use upstream::{Over, Upstream, UpstreamError};
pub use way::Way;

/// The mounts of a server with the connections to their upstreams. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    mounts: std::sync::Arc<[Mounted]>,
}

/// A mount that is ready to serve.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// As it is configured.
    pub mount: Mount,
    /// The connections to its upstream.
    pub upstream: Upstream,
}

impl Relay {
    /// Relays to the upstreams of `mounts`. Nothing is connected yet.
    pub fn new(mounts: &[Mount]) -> Result<Self, TrustError> {
        let mounts = mounts.iter().cloned().map(Mounted::new);
        Ok(Self { mounts: mounts.collect::<Result<_, _>>()? })
    }

    /// The mounts, ready to serve.
    pub fn mounts(&self) -> &[Mounted] {
        &self.mounts
    }

    /// The mount of that name.
    pub fn named(&self, name: &str) -> Option<&Mounted> {
        self.mounts.iter().find(|mounted| mounted.mount.name == name)
    }

    /// The mount with the longest prefix that `path` is under, and what is left of the path.
    pub fn find<'a, 'p>(&'a self, path: &'p str) -> Option<(&'a Mounted, &'p str)> {
        let under = |mounted: &'a Mounted| {
            target::below(&mounted.mount.prefix, path).map(|rest| (mounted, rest))
        };
        let found = self.mounts.iter().filter_map(under);
        found.max_by_key(|(mounted, _)| mounted.mount.prefix.len())
    }
}

impl Mounted {
    /// Ready to serve `mount`. Nothing is connected yet.
    pub fn new(mount: Mount) -> Result<Self, TrustError> {
        let upstream = Upstream::new(&Way::of(&mount))?;
        Ok(Self { mount, upstream })
    }

    /// What is asked of the upstream by a request for what is left of the path, and for `query`.
    pub fn onward(&self, rest: &str, query: Option<&str>) -> Result<Onward, Devious> {
        let trigger = &self.mount.trigger;
        Onward::of(rest, query, trigger.query.as_deref(), &trigger.values, None)
    }
}

/// The path and query for the upstream: `target` is what is left of the path, with a query or without.
pub fn upstream_target(mount: &Mount, target: &str) -> Result<PathAndQuery, InvalidUri> {
    format!("{}{target}", mount.upstream.path).parse()
}

/// Whether a request of this method may be sent twice (RFC 9110, section 9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}
