//! Mounts of dialects in the configuration file: their paths, and the worker or relay behind them.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use serde::Deserialize;
use toml::Spanned;

use super::relay;
use crate::dialect::{Dialect, FileError, Pattern, Site, near, path};
use crate::operation::TenantId;

mod submit;

use submit::SubmitTable;
pub use submit::{KindOf, Submit};

/// Returns the text of a file that the configuration file names.
pub type Files<'a> = &'a dyn Fn(&str) -> std::io::Result<String>;

/// A dialect under a prefix of this server.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// The mount's name. It alone finds operations submitted through it, also after a restart.
    pub name: String,
    /// The mount's path, and those of its routes.
    pub site: Site,
    /// The dialect.
    pub dialect: Arc<Dialect>,
    /// The relay whose requests become operations of this mount.
    pub relay: Option<String>,
    /// The paths for submissions to workers.
    pub submit: Vec<Submit>,
    /// Whether every caller with credentials may read operations that have an owner.
    pub is_shared: bool,
    /// How long the response to a submission waits for its end by default.
    pub wait: Option<Duration>,
    /// The header field with credentials; `authorization` by default.
    pub credentials: HeaderName,
    /// The tenant for which requests without credentials for this server act.
    pub tenant: Option<TenantId>,
    /// The maximum number of operations of a kind that are not done.
    pub capacity: Option<u64>,
    /// The longest time until an operation's first attempt.
    pub queue_timeout: Option<Duration>,
}

/// A mount as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MountTable {
    name: Option<Spanned<String>>,
    #[serde(rename = "use")]
    built_in: Option<Spanned<String>>,
    file: Option<Spanned<String>>,
    prefix: Spanned<String>,
    share: Option<Spanned<String>>,
    wait: Option<Spanned<String>>,
    relay: Option<Spanned<String>>,
    credentials: Option<Spanned<String>>,
    tenant: Option<Spanned<String>>,
    capacity: Option<Spanned<u64>>,
    queue_timeout: Option<Spanned<String>>,
    #[serde(default)]
    submit: Vec<Spanned<SubmitTable>>,
}

/// An error in the configuration file: its byte, and the reason.
type Refused = (usize, String);

/// This server's own paths.
const OWN: [&str; 15] = [
    "/v1/attempts",
    "/v1/batches",
    "/v1/deliveries",
    "/v1/keys",
    "/v1/kinds",
    "/v1/limits",
    "/v1/operations",
    "/v1/shares",
    "/v1/tenants",
    "/v1/webhooks",
    "/v1/workers",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/metrics",
];
const OWN_NAMES: [&str; 3] = ["longrun.", "grpc.", "google."];

/// The mounts of a file, beside its relays.
pub(super) fn mounts(
    text: &str,
    tables: Vec<Spanned<MountTable>>,
    relays: &[relay::Mount],
    files: Files<'_>,
) -> Result<Vec<Mount>, FileError> {
    let mut mounts: Vec<Mount> = Vec::new();
    for table in tables {
        let at = table.span().start;
        let refused = |(at, reason): Refused| FileError::at(text, at, reason);
        let mount = Mount::of(at, table.into_inner(), files).map_err(refused)?;
        mount.beside(relays, &mounts).map_err(|reason| FileError::at(text, at, reason))?;
        mounts.push(mount);
    }
    Ok(mounts)
}

impl Mount {
    fn of(at: usize, table: MountTable, files: Files<'_>) -> Result<Self, Refused> {
        let (default_name, dialect) = dialect(at, table.built_in, table.file, files)?;
        let name = name(table.name)?.unwrap_or(default_name);
        let site = site(&table.prefix, &dialect)?;
        let submit = table.submit.into_iter().map(|submit| Submit::of(submit, &site.prefix));
        let submit = submit.collect::<Result<Vec<_>, _>>()?;
        let relay = table.relay.map(Spanned::into_inner);
        if relay.is_none() == submit.is_empty() {
            let rule = "a dialect must have either a relay or [[dialect.submit]] paths";
            return Err((at, rule.to_owned()));
        }
        if relay.is_some() && !dialect.trigger.is_there() {
            let rule = "relay is for dialects with a [trigger], which this one does not have";
            return Err((at, rule.to_owned()));
        }
        let limits = &dialect.limits;
        let mount = Self {
            name,
            site,
            relay,
            submit,
            credentials: credentials(table.credentials)?,
            tenant: tenant(table.tenant)?,
            capacity: capacity(table.capacity)?.or(limits.capacity),
            queue_timeout: duration("queue_timeout", table.queue_timeout)?.or(limits.queue_timeout),
            wait: duration("wait", table.wait)?,
            is_shared: is_shared(table.share, &dialect)?,
            dialect: Arc::new(dialect),
        };
        mount.check_places().map_err(|rule| (at, rule))?;
        Ok(mount)
    }

    /// Refuses templates that use placeholders which no path of the mount has.
    fn check_places(&self) -> Result<(), String> {
        let submit = self.submit.iter().map(|submit| &submit.path);
        let trigger = self.dialect.trigger.paths.iter();
        let paths = || [&self.site.prefix].into_iter().chain(submit.clone()).chain(trigger.clone());
        match self.dialect.places().find(|name| !paths().any(|path| path.has(name))) {
            Some(name) => {
                let routes = self.dialect.routes.iter().map(|route| &route.path);
                let near = near::question(name, paths().chain(routes).flat_map(Pattern::places));
                let rule = "but no path of the mount has";
                Err(format!("the dialect uses places.{name}, {rule} {{{name}}}{near}"))
            }
            None => Ok(()),
        }
    }

    /// Whether a path belongs to the mount: one of its own, or anything under its prefix, if it has one.
    pub fn covers(&self, path: &str) -> bool {
        let prefix = &self.site.prefix;
        let is_under = !prefix.is_empty() && prefix.places_above(path).is_some();
        is_under || self.paths().any(|own| own.places_of(path).is_some())
    }

    /// All full paths of the mount.
    fn paths(&self) -> impl Iterator<Item = &Pattern> {
        self.site.routes.iter().chain(self.submit.iter().map(|submit| &submit.path))
    }

    /// Refuses names and paths that are given twice, or that other mounts or relays use already.
    fn beside(&self, relays: &[relay::Mount], earlier: &[Self]) -> Result<(), String> {
        if let Some(name) = &self.relay
            && !relays.iter().any(|relay| relay.name == *name)
        {
            let near = near::question(name, relays.iter().map(|it| it.name.as_str()));
            return Err(format!("there is no [[relay]] with the name {name}{near}"));
        }
        if earlier.iter().any(|mount| mount.name == self.name) {
            return Err(format!("the name {} is given twice", self.name));
        }
        for path in self.paths() {
            self.path_beside(path, relays, earlier)?;
        }
        self.each_once()
    }

    fn path_beside(
        &self,
        path: &Pattern,
        relays: &[relay::Mount],
        earlier: &[Self],
    ) -> Result<(), String> {
        if is_own(path) {
            return Err(format!("the path {path} is, or could be, this server's own"));
        }
        for mount in earlier {
            if let Some(other) = mount.paths().find(|other| other.meets(path)) {
                return Err(format!("the path {path} could be {other} of {}", mount.name));
            }
        }
        let is_above = |relay: &&relay::Mount| {
            Pattern::parse(&relay.prefix).is_some_and(|prefix| path.lies_under(&prefix))
        };
        let others = relays.iter().filter(|relay| self.relay.as_ref() != Some(&relay.name));
        match others.into_iter().find(is_above) {
            Some(relay::Mount { prefix, name, .. }) => {
                Err(format!("the path {path} is under {prefix}/ of the relay {name}"))
            }
            None => Ok(()),
        }
    }

    /// Refuses a path for submissions that is also one of a route, or of other submissions.
    fn each_once(&self) -> Result<(), String> {
        for (at, submit) in self.submit.iter().enumerate() {
            let routes = self.dialect.routes.iter().map(|route| &route.method);
            let routes = routes.zip(&self.site.routes);
            let others = self.submit.iter().take(at).map(|other| (&other.method, &other.path));
            let meets = |(method, path): (&Method, &Pattern)| {
                *method == submit.method && path.meets(&submit.path)
            };
            if routes.chain(others).any(meets) {
                return Err(format!("{} {} is given twice", submit.method, submit.path));
            }
        }
        Ok(())
    }
}

/// Whether the path is, or could be, this server's own.
fn is_own(path: &Pattern) -> bool {
    let first = path.first();
    let is_name = |name: &&str| first.is_some_and(|first| first.starts_with(*name));
    let mut own = OWN.into_iter().filter_map(Pattern::parse);
    first.is_none() || own.any(|own| path.lies_under(&own)) || OWN_NAMES.iter().any(is_name)
}

fn name(given: Option<Spanned<String>>) -> Result<Option<String>, Refused> {
    let Some(name) = given else { return Ok(None) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let text = name.as_ref();
    if !(1..=100).contains(&text.len()) || !text.bytes().all(plain) {
        let rule = "name must be letters, digits, '-', '_' or '.', at most 100";
        return Err((name.span().start, rule.to_owned()));
    }
    Ok(Some(name.into_inner()))
}

fn is_shared(given: Option<Spanned<String>>, dialect: &Dialect) -> Result<bool, Refused> {
    match given {
        None => Ok(false),
        Some(share) if share.as_ref() == "anyone" && dialect.has_owners => Ok(true),
        Some(share) => {
            let rule = "share must be \"anyone\", for a dialect with owner = \"credentials\"";
            Err((share.span().start, rule.to_owned()))
        }
    }
}

fn credentials(given: Option<Spanned<String>>) -> Result<HeaderName, Refused> {
    let Some(name) = given else { return Ok(http::header::AUTHORIZATION) };
    HeaderName::try_from(name.as_ref().as_str())
        .map_err(|_| (name.span().start, "credentials must be a header field's name".to_owned()))
}

fn tenant(given: Option<Spanned<String>>) -> Result<Option<TenantId>, Refused> {
    let Some(name) = given else { return Ok(None) };
    let tenant = TenantId::parse(name.as_ref());
    tenant.map(Some).map_err(|rule| (name.span().start, format!("tenant {rule}")))
}

fn capacity(given: Option<Spanned<u64>>) -> Result<Option<u64>, Refused> {
    match given {
        Some(given) if *given.as_ref() == 0 => {
            Err((given.span().start, "capacity must be at least 1".to_owned()))
        }
        given => Ok(given.map(Spanned::into_inner)),
    }
}

fn duration(key: &str, given: Option<Spanned<String>>) -> Result<Option<Duration>, Refused> {
    let Some(text) = given else { return Ok(None) };
    let duration = relay::to_duration(text.as_ref());
    duration.map(Some).map_err(|rule| (text.span().start, format!("{key} {rule}")))
}

/// The dialect, and a name for a mount without one of its own.
fn dialect(
    at: usize,
    built_in: Option<Spanned<String>>,
    file: Option<Spanned<String>>,
    files: Files<'_>,
) -> Result<(String, Dialect), Refused> {
    match (built_in, file) {
        (Some(name), None) => {
            let (at, name) = (name.span().start, name.into_inner());
            match Dialect::built_in(&name) {
                Some(Ok(dialect)) => Ok((name, dialect)),
                Some(Err(error)) => Err((at, format!("{name}, {error}"))),
                None => {
                    let near = near::question(&name, Dialect::built_in_names());
                    let names = Dialect::built_in_names().collect::<Vec<_>>().join(", ");
                    Err((
                        at,
                        format!(
                            "use must be one of {names}; use file for a dialect in a file{near}"
                        ),
                    ))
                }
            }
        }
        (None, Some(file)) => {
            let (at, file) = (file.span().start, file.into_inner());
            let text =
                files(&file).map_err(|error| (at, format!("{file} cannot be read: {error}")))?;
            let dialect =
                Dialect::parse(&text).map_err(|error| (at, format!("{file}, {error}")))?;
            let stem = std::path::Path::new(&file).file_stem().and_then(std::ffi::OsStr::to_str);
            Ok((stem.unwrap_or(&file).to_owned(), dialect))
        }
        _ => Err((at, "a dialect must have either use or file".to_owned())),
    }
}

/// The mount's paths.
fn site(given: &Spanned<String>, dialect: &Dialect) -> Result<Site, Refused> {
    let (at, text) = (given.span().start, given.as_ref());
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let prefix = Pattern::parse(prefix).filter(|path| text.starts_with('/') && !path.has("id"));
    let rule = "and no name in it may be {id}";
    let prefix = prefix.ok_or_else(|| (at, format!("prefix must be {}, {rule}", path::RULE)))?;
    Site::new(prefix, dialect)
        .map_err(|path| (at, format!("prefix must not have a name that {path} has")))
}
