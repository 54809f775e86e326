//! Dialects: the published pattern of an API for operations, as data.
//!
//! A dialect is a file: paths, the requests that become operations, the response to a submission, and templates of
//! documents over a plain view of operations. Everything here is pure: text in, documents out. It knows neither
//! connections nor callers (`http` does), and never changes an operation.
//!
//! Read next: `file` for the format, `scene` and `view` for what templates see, `answer` for rendering, `check` for
//! what is refused at start.

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
mod vocabulary;

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

/// A checked dialect.
pub struct Dialect {
    source: String,
    /// The form of ids in paths.
    naming: Naming,
    /// Whether an operation belongs to the caller who submitted it.
    pub has_owners: bool,
    /// Whether the body of a submission for workers must be a JSON object.
    pub takes_object: bool,
    /// The trigger that turns a relayed request into an operation.
    pub trigger: Trigger,
    /// The limits.
    pub limits: Limits,
    /// How a request asks to wait.
    pub wait: Wait,
    /// The names of states.
    states: Vec<(StateName, Template)>,
    /// The names of errors.
    codes: BTreeMap<String, String>,
    /// The routes for operations and lists.
    pub routes: Vec<Route>,
    /// The answers to submissions.
    submit: Submission,
    problems: Vec<Answer>,
    /// The names of placeholders that templates use.
    places: BTreeSet<String>,
    /// The header fields of submissions that templates use, in lower case; `None`: possibly any.
    headers: Option<BTreeSet<String>>,
    templates: Templates,
}

/// The answers to submissions.
#[derive(Clone, Debug, Default)]
struct Submission {
    answers: Vec<Answer>,
    needs: Needs,
}

/// The trigger that turns a relayed request into an operation, and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Whether every request becomes one.
    pub always: bool,
    /// Whether `Prefer: respond-async` is a trigger.
    pub prefer: bool,
    /// The query parameter that is a trigger.
    pub query: Option<String>,
    /// The parameter's values that count.
    pub values: Vec<String>,
    /// The methods of requests that can become operations; empty: all.
    pub methods: Vec<Method>,
    /// The paths of requests that can become operations, after the relay's prefix; empty: all.
    pub paths: Vec<Pattern>,
    /// The query parameter that lets other callers with credentials read the operation.
    pub share: Option<String>,
}

/// Limits of mounts that set none themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of operations of a kind that are not done.
    pub capacity: Option<u64>,
    /// The longest time until the first attempt.
    pub queue_timeout: Option<Duration>,
}

/// How a request asks to wait until the operation is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// The query parameter. Its value is a duration, or `true` or `yes`.
    pub parameter: Option<String>,
    /// The duration of `true`.
    pub default: Duration,
    /// Whether `Prefer: wait=N` also applies to submissions.
    pub prefer: bool,
}

/// A route for operations, or for actions on them.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, by which templates find its URL in `links`.
    pub name: String,
    /// The method; GET includes HEAD.
    pub method: Method,
    /// The path under the mount's prefix, with a placeholder `{id}` if it is about an operation.
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
    /// The mount: a document without an operation.
    Mount,
    /// The mount's operations.
    List(List),
    /// The operation in the path.
    Operation(Action),
}

/// A route's action before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    Read,
    /// Cancels the operation.
    Cancel,
    /// Deletes a done operation.
    Delete,
    /// Cancels the operation, or deletes it if it is done.
    Dismiss,
    /// Submits a done operation's input again; the answer is about the new operation.
    Retry,
}

/// The data that templates need in addition to the operation.
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
    /// Whether any trigger is set.
    pub fn is_there(&self) -> bool {
        self.always || self.prefer || self.query.is_some()
    }
}

impl Dialect {
    /// The built-in dialect with that name.
    pub fn built_in(name: &str) -> Option<Result<Self, FileError>> {
        builtin::find(name).map(Self::parse)
    }

    /// The names of the built-in dialects.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        builtin::names()
    }

    /// Parses a dialect's file, and checks everything that can be checked without an operation.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let (dialect, lines) = file::parse(text)?;
        check::check(&dialect, text, &lines)?;
        Ok(dialect)
    }

    /// Parses the id in a path.
    pub fn id(&self, text: &str) -> Option<OperationId> {
        self.naming.read(text)
    }

    /// The data that the answers to submissions need.
    pub fn submission_needs(&self) -> Needs {
        self.submit.needs
    }

    /// The names of placeholders that its templates use, without those of its own routes.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let is_own = |name: &str| self.routes.iter().any(|route| route.path.has(name));
        self.places.iter().map(String::as_str).filter(move |name| !is_own(name))
    }

    /// Whether its templates may use a submission's header field with that name, in lower case.
    pub fn shows_header(&self, name: &str) -> bool {
        self.headers.as_ref().is_none_or(|names| names.contains(&name.replace('-', "_")))
    }
}

/// Two dialects are equal if their files are.
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
