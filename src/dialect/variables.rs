//! The variables of templates, by what the template is about.

use super::Target;

/// What a template is about, which decides what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// A mount: only the request that is answered.
    Mount,
    /// An operation.
    Operation,
    /// A page of operations.
    List,
    /// A request that is refused.
    Refusal,
}

/// Names, a level deep: what is named here with a `*` has members of its own.
type Variables = &'static [(&'static str, &'static [&'static str])];

/// There for every template.
const ALWAYS: Variables = &[
    ("call", &["method", "path", "parameters", "headers"]),
    ("places", &["*"]),
    ("mount", &["name", "prefix"]),
    ("links", &["*"]),
    ("now", &[]),
];

const OF_OPERATIONS: Variables = &[
    ("id", &[]),
    ("uuid", &[]),
    ("hex", &[]),
    ("decimal", &[]),
    ("number", &[]),
    ("kind", &[]),
    ("state", &[]),
    ("status", &[]),
    ("done", &[]),
    ("created", &[]),
    ("updated", &[]),
    ("started", &[]),
    ("ended", &[]),
    ("expires", &[]),
    ("attempt", &[]),
    ("dismissed", &[]),
    ("progress", &["percent", "done", "total", "message"]),
    ("error", &["id", "code", "reason", "message", "grpc_code", "source", "details", "causes"]),
    ("errors", &["*"]),
    ("warnings", &["*"]),
    ("result", &["status", "content_type", "size", "inline", "json", "text"]),
    ("labels", &["*"]),
    (
        "request",
        &[
            "method",
            "target",
            "path",
            "query",
            "uri",
            "trigger",
            "parameters",
            "headers",
            "json",
            "text",
        ],
    ),
    ("history", &["*"]),
];

const OF_LISTS: Variables = &[("operations", &["*"]), ("next_page_token", &[])];

const OF_REFUSALS: Variables =
    &[("problem", &["status", "reason", "title", "message", "retry_after", "allow"])];

/// Beside those of operations.
const OF_EVENTS: Variables = &[("transition", &[]), ("sequence", &[])];

/// Whether it is a variable of events, beside those of operations.
pub(super) fn is_of_events(variable: &str) -> bool {
    is_listed(OF_EVENTS, variable)
}

/// Every variable, and every member of those that have such: for near misses.
pub(super) fn all() -> impl Iterator<Item = String> {
    let tables = [ALWAYS, OF_OPERATIONS, OF_EVENTS, OF_LISTS, OF_REFUSALS];
    tables.into_iter().flatten().flat_map(|(name, members)| {
        let members = members.iter().filter(|member| **member != "*");
        let members = members.map(move |member| format!("{name}.{member}"));
        std::iter::once((*name).to_owned()).chain(members)
    })
}

impl Topic {
    /// What the answers of a route are about.
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Mount => Self::Mount,
            Target::List(_) => Self::List,
            Target::Operation(_) => Self::Operation,
        }
    }

    /// Whether templates about this may use the variable. `links` are the names of the dialect's routes, and whether
    /// each is about an operation.
    pub(super) fn knows(self, variable: &str, links: &[(&str, bool)]) -> bool {
        if let Some(link) = variable.strip_prefix("links.") {
            let link = link.split('.').next().unwrap_or_default();
            let is_there = |(name, needs_operation): &(&str, bool)| {
                *name == link && (self == Self::Operation || !needs_operation)
            };
            return link == "self" || link == "base" || links.iter().any(is_there);
        }
        let own = match self {
            Self::Mount => &[][..],
            Self::Operation => OF_OPERATIONS,
            Self::List => OF_LISTS,
            Self::Refusal => OF_REFUSALS,
        };
        is_listed(ALWAYS, variable) || is_listed(own, variable)
    }
}

fn is_listed(variables: Variables, variable: &str) -> bool {
    let mut parts = variable.split('.');
    let root = parts.next().unwrap_or_default();
    let Some((_, members)) = variables.iter().find(|(name, _)| *name == root) else { return false };
    match parts.next() {
        None => true,
        Some(member) => members.contains(&"*") || members.contains(&member),
    }
}
