//! The variables of templates, by the subject of the template.

use super::{Target, near};

/// The subject of a template, which decides its variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// A mount: only the request.
    Mount,
    /// An operation.
    Operation,
    /// A page of operations.
    List,
    /// A refused request.
    Refusal,
}

/// Names, each with the shape of its value.
pub(super) type Names = [(&'static str, Shape)];

/// The members of a variable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// No members.
    Plain,
    /// Members whose names clients, workers or mounts choose.
    Open,
    /// Members with these names.
    One(&'static Names),
    /// A list of such values.
    Many(&'static Names),
    /// All variables of an operation.
    Operation,
    /// A list of operations.
    Operations,
    /// Members with the names of the dialect's routes.
    Links,
}

use Shape::{Links, Many, One, Open, Operation, Operations, Plain};

/// The variables of every template.
static ALWAYS: &Names = &[
    ("call", One(&[("method", Plain), ("path", Plain), ("parameters", Open), ("headers", Open)])),
    ("places", Open),
    ("mount", One(&[("name", Plain), ("prefix", Plain)])),
    ("links", Links),
    ("now", Plain),
];

static OF_OPERATIONS: &Names = &[
    ("operation", Operation),
    ("id", Plain),
    ("uuid", Plain),
    ("hex", Plain),
    ("decimal", Plain),
    ("number", Plain),
    ("kind", Plain),
    ("state", Plain),
    ("status", Plain),
    ("done", Plain),
    ("created", Plain),
    ("updated", Plain),
    ("started", Plain),
    ("ended", Plain),
    ("expires", Plain),
    ("attempt", Plain),
    ("dismissed", Plain),
    ("progress", One(&[("percent", Plain), ("done", Plain), ("total", Plain), ("message", Plain)])),
    ("error", One(&ERROR)),
    ("errors", Many(&ERROR)),
    ("warnings", Many(&ERROR)),
    (
        "result",
        One(&[
            ("status", Plain),
            ("content_type", Plain),
            ("size", Plain),
            ("inline", Plain),
            ("json", Open),
            ("text", Plain),
        ]),
    ),
    ("labels", Open),
    (
        "request",
        One(&[
            ("method", Plain),
            ("target", Plain),
            ("path", Plain),
            ("query", Plain),
            ("uri", Plain),
            ("trigger", Plain),
            ("parameters", Open),
            ("headers", Open),
            ("json", Open),
            ("text", Plain),
        ]),
    ),
    (
        "history",
        Many(&[
            ("number", Plain),
            ("at", Plain),
            ("state", Plain),
            ("done", Plain),
            ("text", Plain),
        ]),
    ),
];

static ERROR: [(&str, Shape); 8] = [
    ("id", Plain),
    ("code", Plain),
    ("reason", Plain),
    ("message", Plain),
    ("grpc_code", Plain),
    ("source", Plain),
    ("details", Open),
    ("causes", Many(&ERROR)),
];

static OF_LISTS: &Names = &[("operations", Operations), ("next_page_token", Plain)];

static OF_REFUSALS: &Names = &[(
    "problem",
    One(&[
        ("status", Plain),
        ("reason", Plain),
        ("title", Plain),
        ("message", Plain),
        ("retry_after", Plain),
        ("allow", Plain),
    ]),
)];

/// The additional variables of events.
static OF_EVENTS: &Names = &[("transition", Plain), ("sequence", Plain)];

/// The members of `links` in addition to the routes.
const OTHER_LINKS: [&str; 2] = ["self", "base"];

/// A route's name, and whether it is about an operation.
pub(super) type Link<'a> = (&'a str, bool);

/// An unknown name: where it is used, and the names that exist there.
#[derive(Debug)]
struct Unknown<'a> {
    name: &'a str,
    within: &'a str,
    known: Vec<&'a str>,
}

impl Unknown<'_> {
    /// `; did you mean …?`, or empty.
    fn question(&self) -> String {
        let Self { name, within, known } = self;
        let near = near::nearest(name, known.iter().copied());
        near.map_or_else(String::new, |near| format!("; did you mean {within}{near}?"))
    }
}

/// The shape of a variable, in any template.
pub(super) fn shape(variable: &str) -> Shape {
    let tables = [ALWAYS, OF_OPERATIONS, OF_EVENTS, OF_LISTS, OF_REFUSALS];
    let found = tables.into_iter().flatten().find(|(name, _)| *name == variable);
    found.map_or(Open, |(_, shape)| *shape)
}

impl Shape {
    /// The shape of the member with that name; otherwise the names that exist. `links` has the routes' names.
    pub(super) fn member<'a>(self, name: &str, links: &[&'a str]) -> Result<Self, Vec<&'a str>> {
        let tables: &[&Names] = match self {
            Open | Many(_) | Operations => return Ok(Open),
            Plain => &[],
            One(names) => &[names],
            Operation => &[ALWAYS, OF_OPERATIONS],
            Links => {
                let known: Vec<&str> = links.iter().copied().chain(OTHER_LINKS).collect();
                return if known.contains(&name) { Ok(Plain) } else { Err(known) };
            }
        };
        let names = tables.iter().copied().flatten();
        let found = names.clone().find(|(known, _)| *known == name);
        found.map(|(_, shape)| *shape).ok_or_else(|| names.map(|(name, _)| *name).collect())
    }
}

/// Accepts the variables of events in addition to those that are known.
pub(super) fn or_of_events(variable: &str, known: Result<(), String>) -> Result<(), String> {
    let names = || OF_EVENTS.iter().map(|(name, _)| *name);
    match known {
        Err(_) if names().any(|name| name == variable) => Ok(()),
        Err(question) if question.is_empty() => Err(near::question(variable, names())),
        known => known,
    }
}

impl Topic {
    /// The topic of a route's answers.
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Mount => Self::Mount,
            Target::List(_) => Self::List,
            Target::Operation(_) => Self::Operation,
        }
    }

    /// Refuses a variable that templates with this topic lack; the error has the one that was probably meant: `; did
    /// you mean …?`, or is empty.
    pub(super) fn check(self, variable: &str, links: &[Link<'_>]) -> Result<(), String> {
        self.find(variable, links).map_err(|unknown| unknown.question())
    }

    fn find<'a>(self, variable: &'a str, links: &[Link<'a>]) -> Result<(), Unknown<'a>> {
        let own = match self {
            Self::Mount => &[][..],
            Self::Operation => OF_OPERATIONS,
            Self::List => OF_LISTS,
            Self::Refusal => OF_REFUSALS,
        };
        let (root, mut rest) = variable.split_once('.').unwrap_or((variable, ""));
        let roots = ALWAYS.iter().chain(own);
        let found = roots.clone().find(|(name, _)| *name == root);
        let Some((_, shape)) = found else {
            let known = roots.map(|(name, _)| *name).collect();
            return Err(Unknown { name: root, within: "", known });
        };
        // Without an operation there are no links to one.
        let links =
            links.iter().filter(|(_, of_operation)| self == Self::Operation || !of_operation);
        let links: Vec<&str> = links.map(|(name, _)| *name).collect();
        let (mut shape, mut passed) = (*shape, root.len() + 1);
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('.').unwrap_or((rest, ""));
            let within = variable.get(..passed).unwrap_or_default();
            let member = shape.member(name, &links);
            shape = member.map_err(|known| Unknown { name, within, known })?;
            (passed, rest) = (passed + name.len() + 1, behind);
        }
        Ok(())
    }
}
