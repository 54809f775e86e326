//! Between a mount and its upstream: which requests are sent, with which header fields, over which connections; and the
//! execution of requests that became operations. Handlers that are HTTP endpoints use the same connections.
//!
//! Upstream hosts come from the configuration only, never from a request. This module submits nothing and responds to
//! no client: `http` does, and workers execute.
//!
//! Read next: `target` for the destination of a request, `fields` for its header, `execute` for operations, `recording`
//! for the recorded response, `endpoint` for handlers.

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

/// A server's mounts with the connections to their upstreams. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    mounts: std::sync::Arc<[Mounted]>,
}

/// A mount with its connections.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The mount's configuration.
    pub mount: Mount,
    /// The connections to its upstream.
    pub upstream: Upstream,
}

impl Relay {
    /// A relay to the upstreams of `mounts`. Connects later.
    pub fn new(mounts: &[Mount]) -> Result<Self, TrustError> {
        let mounts = mounts.iter().cloned().map(Mounted::new);
        Ok(Self { mounts: mounts.collect::<Result<_, _>>()? })
    }

    /// All mounts.
    pub fn mounts(&self) -> &[Mounted] {
        &self.mounts
    }

    /// The mount with that name.
    pub fn named(&self, name: &str) -> Option<&Mounted> {
        self.mounts.iter().find(|mounted| mounted.mount.name == name)
    }

    /// The mount with the longest prefix of `path`, and the rest of the path.
    pub fn find<'a, 'p>(&'a self, path: &'p str) -> Option<(&'a Mounted, &'p str)> {
        let under = |mounted: &'a Mounted| {
            target::below(&mounted.mount.prefix, path).map(|rest| (mounted, rest))
        };
        let found = self.mounts.iter().filter_map(under);
        found.max_by_key(|(mounted, _)| mounted.mount.prefix.len())
    }
}

impl Mounted {
    /// A mount with its connections, which are opened later.
    pub fn new(mount: Mount) -> Result<Self, TrustError> {
        let upstream = Upstream::new(&Way::of(&mount))?;
        Ok(Self { mount, upstream })
    }

    /// The upstream's path and query, for the rest of a request's path and its `query`.
    pub fn onward(&self, rest: &str, query: Option<&str>) -> Result<Onward, Devious> {
        let trigger = &self.mount.trigger;
        Onward::of(rest, query, trigger.query.as_deref(), &trigger.values, None)
    }
}

/// The path and query for the upstream: `target` is the rest of the path, with or without a query.
pub fn upstream_target(mount: &Mount, target: &str) -> Result<PathAndQuery, InvalidUri> {
    format!("{}{target}", mount.upstream.path).parse()
}

/// Whether a request with this method may be sent twice (RFC 9110, section 9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}
