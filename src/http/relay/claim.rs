//! Decides whether a request under a mount becomes an operation, and in which dialect the response is.

use http::Method;
use http::request::Parts;

use super::super::dialect::Visit;
use super::super::headers::Preferences;
use super::super::problem::Problem;
use super::super::{Http, cors};
use crate::config::dialect::Mount as DialectMount;
use crate::relay::{Devious, Mounted, Onward};
use crate::service::ServiceError;

/// A request under a mount, and the dialect through which it becomes an operation.
pub(super) struct Claim<'a> {
    /// The dialect over the mount whose trigger matched, else the first one.
    pub(super) visit: Option<Visit<'a>>,
    pub(super) onward: Onward,
    /// Whether `Prefer: respond-async` would turn the request into an operation.
    pub(super) prefer: bool,
    pub(super) is_asynchronous: bool,
}

/// A dialect whose trigger matches the request, and the values of the path's placeholders.
struct Candidate<'a, 'p> {
    mount: &'a DialectMount,
    places: Vec<(&'p str, &'p str)>,
}

/// Reads the triggers for a request: the relay's own, or those of the dialects over it, the first of which that matches
/// counts.
pub(super) fn read<'a>(
    http: &'a Http,
    mounted: &'a Mounted,
    rest: &str,
    parts: &Parts,
) -> Result<Claim<'a>, Problem> {
    let query = parts.uri.query();
    let devious = |rule: Devious| ServiceError::invalid_field("path", rule.to_string());
    // A preflight is about a later request, and has that request's query.
    let may_trigger = !cors::is_preflight(&parts.method, &parts.headers);
    let preferred = Preferences::parse(&parts.headers).respond_async;
    let relay = Some(&mounted.mount.name);
    let over = http.options.dialects.iter().filter(|mount| mount.relay.as_ref() == relay);
    let over: Vec<&DialectMount> = over.collect();
    let Some(first) = over.first() else {
        let onward = mounted.onward(rest, query).map_err(devious)?;
        let prefer = mounted.mount.trigger.prefer;
        let is_asynchronous = may_trigger && (onward.trigger.is_some() || prefer && preferred);
        return Ok(Claim { visit: None, onward, prefer, is_asynchronous });
    };
    let path = parts.uri.path();
    let candidates = over.iter().filter_map(|mount| Candidate::of(mount, rest, parts));
    let mut prefer = false;
    for Candidate { mount, places } in candidates {
        let its = &mount.dialect.trigger;
        let (name, share) = (its.query.as_deref(), its.share.as_deref());
        let onward = Onward::of(rest, query, name, &its.values, share).map_err(devious)?;
        prefer |= its.prefer;
        let is_triggered = its.always || onward.trigger.is_some() || its.prefer && preferred;
        if may_trigger && is_triggered {
            let visit = Some(Visit::of(http, mount, parts, &places));
            return Ok(Claim { visit, onward, prefer, is_asynchronous: true });
        }
    }
    let onward = Onward::of(rest, query, None, &[], None).map_err(devious)?;
    let places = first.site.prefix.places_above(path).unwrap_or_default();
    let visit = Some(Visit::of(http, first, parts, &places));
    Ok(Claim { visit, onward, prefer, is_asynchronous: false })
}

impl<'a: 'p, 'p> Candidate<'a, 'p> {
    /// The dialect, if its trigger can match such requests: by the values in its prefix, if that has placeholders, by
    /// its methods, and by its paths.
    fn of(mount: &'a DialectMount, rest: &'p str, parts: &'p Parts) -> Option<Self> {
        let trigger = &mount.dialect.trigger;
        let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        if !trigger.methods.is_empty() && !trigger.methods.contains(method) {
            return None;
        }
        let mut places = Vec::new();
        if mount.site.prefix.places().next().is_some() {
            places = mount.site.prefix.places_above(parts.uri.path())?;
        }
        if !trigger.paths.is_empty() {
            places.extend(trigger.paths.iter().find_map(|path| path.places_of(rest))?);
        }
        Some(Self { mount, places })
    }
}
