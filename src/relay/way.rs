//! The address of an upstream: the common part of mounts and endpoints.

use std::path::Path;
use std::sync::Arc;

use http::uri::{Authority, Scheme};

use crate::config::relay::{Limits, Mount};
use crate::operation::Destinations;

/// The address of an upstream, and the limits of its connections.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// Its owner, for errors: `the relay NAME`.
    pub owner: String,
    /// `http` or `https`.
    pub scheme: &'a Scheme,
    /// Host and port.
    pub authority: &'a Authority,
    /// The only trusted certificates, instead of the system's.
    pub ca_file: Option<&'a Path>,
    /// The allowed addresses; `None`: all.
    pub guard: Option<Arc<Destinations>>,
    /// Time limits, and the maximum size of a header.
    pub limits: &'a Limits,
}

impl<'a> Way<'a> {
    /// The address of a mount's upstream.
    pub fn of(mount: &'a Mount) -> Self {
        Self {
            owner: format!("the relay {}", mount.name),
            scheme: &mount.upstream.scheme,
            authority: &mount.upstream.authority,
            ca_file: mount.ca_file.as_deref(),
            guard: None,
            limits: &mount.limits,
        }
    }
}
