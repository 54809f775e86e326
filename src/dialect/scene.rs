//! The variables of every template: the current request, and its mount.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::path::Pattern;
use super::times::rfc3339;
use super::{Dialect, Target};
use crate::operation::{Operation, Timestamp};

/// The decoded values of a path's placeholders by name, without the operation's id.
pub type Places = BTreeMap<String, String>;

/// The paths of a dialect under a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The mount's path.
    pub prefix: Pattern,
    /// The full paths of the dialect's routes, in order.
    pub routes: Vec<Pattern>,
}

/// A request to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path, undecoded.
    pub path: String,
    /// The query's parameters, decoded, in order.
    pub parameters: Vec<(String, String)>,
    /// The header fields that are text, by name in lower case with `_` for `-`, without credentials.
    pub headers: Vec<(String, String)>,
}

/// A request to a mount, as templates see it.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The present time.
    pub now: Timestamp,
    /// The server's URL for clients: scheme and host.
    pub base: &'a str,
    /// The name of the mount.
    pub mount: &'a str,
    /// The mount's paths.
    pub site: &'a Site,
    /// The path of the relay whose requests become operations of the mount; empty without one.
    pub relay_prefix: &'a str,
    /// The request.
    pub request: &'a Request,
    /// The values of its path's placeholders.
    pub places: &'a Places,
}

impl Site {
    /// The paths of `dialect` under `prefix`. The error is the first path that shares a placeholder with it.
    pub fn new(prefix: Pattern, dialect: &Dialect) -> Result<Self, Pattern> {
        let whole = |path: &Pattern| path.under(&prefix).ok_or_else(|| path.clone());
        let routes = dialect.routes.iter().map(|route| whole(&route.path));
        Ok(Self { routes: routes.collect::<Result<_, _>>()?, prefix })
    }

    /// The paths of `dialect` as in its file.
    pub(super) fn alone(dialect: &Dialect) -> Self {
        let routes = dialect.routes.iter().map(|route| route.path.clone()).collect();
        Self { prefix: Pattern::root(), routes }
    }
}

impl Scene<'_> {
    /// The view of the request, and of `operation` its placeholders, its id, and the links to it.
    pub(super) fn view(
        &self,
        dialect: &Dialect,
        operation: Option<&Operation>,
    ) -> Map<String, Json> {
        let stored = operation.into_iter().flat_map(Operation::places);
        let asked = self.places.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let places: BTreeMap<&str, &str> = asked.chain(stored).collect();
        let id = operation.map(|operation| dialect.naming.write(operation.id()));
        let prefix = self.site.prefix.fill(|name| places.get(name).copied());
        let mut view = Map::new();
        view.insert("call".to_owned(), self.request.view());
        view.insert("links".to_owned(), self.links(dialect, &places, id.as_deref()));
        view.insert("places".to_owned(), json!(places));
        view.insert("mount".to_owned(), json!({"name": self.mount, "prefix": prefix}));
        view.insert("now".to_owned(), rfc3339(self.now).into());
        view
    }

    /// The links to routes: with an operation, to all; otherwise to those without one.
    fn links(&self, dialect: &Dialect, places: &BTreeMap<&str, &str>, id: Option<&str>) -> Json {
        let value = |name: &str| if name == "id" { id } else { places.get(name).copied() };
        let routes = dialect.routes.iter().zip(&self.site.routes);
        let routes = routes
            .filter(|(route, _)| id.is_some() || !matches!(route.target, Target::Operation(_)));
        let links = routes.filter_map(|(route, path)| {
            let path = path.fill(value)?;
            Some((route.name.clone(), Json::from(format!("{}{path}", self.base))))
        });
        let mut links: Map<String, Json> = links.collect();
        links.insert("self".to_owned(), format!("{}{}", self.base, self.request.path).into());
        links.insert("base".to_owned(), self.base.into());
        links.into()
    }
}

impl Request {
    fn view(&self) -> Json {
        json!({
            "method": self.method,
            "path": self.path,
            "parameters": first(&self.parameters),
            "headers": first(&self.headers),
        })
    }
}

/// The first value under each name.
pub(super) fn first(pairs: &[(String, String)]) -> Map<String, Json> {
    let mut map = Map::new();
    for (name, value) in pairs {
        map.entry(name.as_str()).or_insert_with(|| value.as_str().into());
    }
    map
}
