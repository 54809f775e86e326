//! Dialects: the published pattern of an API for operations, as data.
//!
//! A dialect is a file: paths, the requests that become operations, the response to a submission, and templates of
//! documents over a plain view of operations. Everything here is pure: text in, documents out. It knows neither
//! connections nor callers (`http` does), and never changes an operation.
//!
//! Read next: `file` for the format, `scene` and `view` for what templates see, `answer` for what is made of it, `check`
//! for what is refused at start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use http::Method;

use crate::operation::{OperationId, StateName};

mod answer;
mod builtin;
mod check;
mod error;
mod events;
mod file;
mod json;
mod list;
mod naming;
pub(crate) mod near;
pub mod path;
mod quote;
mod sample;
#[cfg(test)]
pub(crate) use sample::operations as samples;
mod scan;
mod scene;
mod template;
mod times;
mod trial;
mod variables;
pub mod view;

pub use answer::{About, Answered, Document};
pub use error::FileError;
pub use events::{Event, Events, PROBLEM};
pub use list::{List, Page};
pub use path::Pattern;
pub use scene::{Places, Request, Scene, Site};
pub use template::TemplateError;
pub use view::{Record, Refusal, Subject};

use answer::Answer;
use naming::Naming;
use template::{Template, Templates};

/// The longest `queue_timeout`: ten years.
const MAX_DURATION: Duration = crate::operation::Settings::MAX_DURATION;

/// A dialect that is fit to be served.
pub struct Dialect {
    source: String,
    /// How ids are written in paths.
    naming: Naming,
    /// Whether an operation belongs to the caller who submitted it.
    pub has_owners: bool,
    /// Whether the body of a submission for workers must be a JSON object.
    pub takes_object: bool,
    /// The trigger that makes a relayed request an operation.
    pub trigger: Trigger,
    /// The limits.
    pub limits: Limits,
    /// How a request asks to be held.
    pub wait: Wait,
    /// The names of states.
    states: Vec<(StateName, Template)>,
    /// The names of errors.
    codes: BTreeMap<String, String>,
    /// Where operations are asked for.
    pub routes: Vec<Route>,
    /// How submissions are answered.
    submit: Submission,
    problems: Vec<Answer>,
    /// The names of places that templates use.
    places: BTreeSet<String>,
    /// The header fields of submissions that templates use, by their names in lower case; none where they could use any.
    headers: Option<BTreeSet<String>>,
    templates: Templates,
}

/// How submissions are answered.
#[derive(Clone, Debug, Default)]
struct Submission {
    answers: Vec<Answer>,
    needs: Needs,
}

/// The trigger that makes a relayed request an operation, and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Whether every request does.
    pub always: bool,
    /// Whether `Prefer: respond-async` does.
    pub prefer: bool,
    /// The query parameter that does.
    pub query: Option<String>,
    /// Its values that count.
    pub values: Vec<String>,
    /// The methods of requests that become operations; all if it has none.
    pub methods: Vec<Method>,
    /// The paths of requests that become operations, as they follow the relay's prefix; all if it has none.
    pub paths: Vec<Pattern>,
    /// The query parameter that lets others with credentials read the operation.
    pub share: Option<String>,
}

/// Default limits of mounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most operations of a kind that are not done.
    pub capacity: Option<u64>,
    /// How long an operation may wait for its first attempt.
    pub queue_timeout: Option<Duration>,
}

/// How a request asks to be held until the operation is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// The query parameter that does. Its value is a duration, or `true` or `yes`.
    pub parameter: Option<String>,
    /// How long `true` is.
    pub default: Duration,
    /// Whether `Prefer: wait=N` holds submissions too.
    pub prefer: bool,
}

/// Where operations are asked for, or acted on.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, under which templates find its URL in `links`.
    pub name: String,
    /// The method; GET is HEAD as well.
    pub method: Method,
    /// The path under the mount's prefix, with a place `{id}` if it is about an operation.
    pub path: Pattern,
    /// The subject.
    pub target: Target,
    /// The data that its answers need.
    pub needs: Needs,
    answers: Vec<Answer>,
}

/// The subject of a route.
#[derive(Clone, Debug)]
pub enum Target {
    /// The mount: a document of its own.
    Mount,
    /// The mount's operations.
    List(List),
    /// The operation that its path names.
    Operation(Action),
}

/// The action of a route before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    Read,
    /// Asks for a cancel.
    Cancel,
    /// Deletes a done operation.
    Delete,
    /// Asks for a cancel, or deletes an operation that is done.
    Dismiss,
    /// Submits a done operation's input again, and answers about the new operation.
    Retry,
}

/// The data that templates need beside the operation itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The input's contents.
    pub input: bool,
    /// The result's contents.
    pub result: bool,
    /// The history.
    pub history: bool,
}

impl Trigger {
    /// Whether anything makes an operation of a request.
    pub fn is_there(&self) -> bool {
        self.always || self.prefer || self.query.is_some()
    }
}

impl Dialect {
    /// The built-in dialect of that name.
    pub fn built_in(name: &str) -> Option<Result<Self, FileError>> {
        builtin::find(name).map(Self::parse)
    }

    /// The names of the built-in dialects.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        builtin::names()
    }

    /// Reads a dialect's file, and checks all that can be checked before there is an operation.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let (dialect, lines) = file::parse(text)?;
        check::check(&dialect, text, &lines)?;
        Ok(dialect)
    }

    /// The operation that a path names.
    pub fn id(&self, text: &str) -> Option<OperationId> {
        self.naming.read(text)
    }

    /// The data that the answers to submissions need.
    pub fn submission_needs(&self) -> Needs {
        self.submit.needs
    }

    /// The names of places that its templates use, but for those of its own routes.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let is_own = |name: &str| self.routes.iter().any(|route| route.path.has(name));
        self.places.iter().map(String::as_str).filter(move |name| !is_own(name))
    }

    /// Whether its templates may ask for a submission's header field of that name, which is in lower case.
    pub fn shows_header(&self, name: &str) -> bool {
        self.headers.as_ref().is_none_or(|names| names.contains(&name.replace('-', "_")))
    }
}

/// Two dialects are the same if their files are.
impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialect").field("routes", &self.routes).finish_non_exhaustive()
    }
}
