//! Dialects: how an API of one's own speaks of operations, as data.
//!
//! A dialect is a file: which paths there are, what makes a request an operation, how a submission is answered, and how
//! operations look, as templates over a plain view of them. Everything here is pure: text in, documents out. It knows
//! neither connections nor callers (`http` does), and does nothing to an operation.
//!
//! Read next: `file` for the format, `view` for what templates see, `check` for what is refused at start.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, Method};
use minijinja::Value;

use crate::operation::{OperationId, StateName, Timestamp};

mod builtin;
mod check;
mod error;
mod file;
mod json;
mod near;
pub mod path;
mod sample;
mod scan;
mod template;
mod times;
pub mod view;

pub use error::FileError;
pub use path::Pattern;
pub use template::TemplateError;
pub use view::{Record, Refusal, Subject};

use template::{Template, Templates};

/// The longest `queue_timeout`: ten years.
const MAX_DURATION: Duration = crate::operation::Settings::MAX_DURATION;

/// A dialect that is fit to be served.
pub struct Dialect {
    source: String,
    /// How ids are written in paths.
    naming: Naming,
    /// Whether what is submitted belongs to who has submitted it.
    pub has_owners: bool,
    /// What makes an operation of a relayed request.
    pub trigger: Trigger,
    /// How much is taken.
    pub limits: Limits,
    /// How a request asks to be held.
    pub wait: Option<Wait>,
    /// The names of states.
    states: Vec<(StateName, Template)>,
    /// The names of errors.
    codes: BTreeMap<String, String>,
    /// Where operations are asked for.
    pub routes: Vec<Route>,
    submit: Vec<Answer>,
    problems: Vec<Answer>,
    templates: Templates,
}

/// How ids are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// As everywhere: with hyphens.
    #[default]
    Uuid,
    /// As 32 hexadecimal digits.
    Hex,
}

/// What makes an operation of a relayed request, and what it says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Whether `Prefer: respond-async` does.
    pub prefer: bool,
    /// The query parameter that does.
    pub query: Option<String>,
    /// Its values that count.
    pub values: Vec<String>,
    /// The query parameter that lets others with credentials read the operation.
    pub share: Option<String>,
}

/// How much is taken, where the mount does not say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most operations of a kind that are not done.
    pub capacity: Option<u64>,
    /// How long an operation may wait for its first attempt.
    pub queue_timeout: Option<Duration>,
}

/// The query parameter by which a request asks to be held until the operation is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Its name. Its value is a duration, or `true` or `yes`.
    pub parameter: String,
    /// How long `true` is.
    pub default: Duration,
}

/// Where operations are asked for, or acted on.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, under which templates find its URL in `links`.
    pub name: String,
    /// The method; GET is HEAD as well.
    pub method: Method,
    /// The path under the mount's prefix, with one place `{id}`.
    pub path: Pattern,
    /// What is done first.
    pub action: Action,
    /// Whether a template asks for the result's contents.
    pub needs_result: bool,
    /// Whether a template asks for the history.
    pub needs_history: bool,
    answers: Vec<Answer>,
}

/// What a route does before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    Read,
    /// Asks for a cancel.
    Cancel,
    /// Deletes a done operation.
    Delete,
}

/// One way to answer.
#[derive(Clone, Debug)]
struct Answer {
    /// Where it applies; everywhere if it says nothing.
    when: Option<Template>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Document {
        status: Option<u16>,
        headers: Vec<(HeaderName, Template)>,
        body: Option<(String, Template)>,
    },
    /// What a synchronous call would have answered.
    Replay,
}

/// What is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// This.
    Document(Document),
    /// What a synchronous call would have answered.
    Replay,
}

/// An answer in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The HTTP status, where the answer names one.
    pub status: Option<u16>,
    /// Header fields; those that came out empty are left out.
    pub headers: Vec<(HeaderName, String)>,
    /// Media type and text.
    pub body: Option<(String, String)>,
}

impl Naming {
    /// The id in this form.
    pub fn write(self, id: OperationId) -> String {
        let uuid = uuid::Uuid::from_bytes(*id.as_bytes());
        match self {
            Self::Uuid => uuid.as_hyphenated().to_string(),
            Self::Hex => uuid.as_simple().to_string(),
        }
    }

    /// An id in this form, and no other: an operation has one path.
    pub fn read(self, text: &str) -> Option<OperationId> {
        let id = OperationId::from_bytes(*uuid::Uuid::try_parse(text).ok()?.as_bytes());
        (self.write(id) == text).then_some(id)
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
        let (dialect, places) = file::parse(text)?;
        check::check(&dialect, text, &places)?;
        Ok(dialect)
    }

    /// The operation that a path names.
    pub fn id(&self, text: &str) -> Option<OperationId> {
        self.naming.read(text)
    }

    /// The answer to a submission.
    pub fn submitted(&self, subject: &Subject<'_>, path: &str) -> Result<Document, TemplateError> {
        match self.choose(&self.submit, &self.view(subject, path)?)? {
            Answered::Document(document) => Ok(document),
            Answered::Replay => Err(no_answer()),
        }
    }

    /// The answer of a route that was asked for at `path`.
    pub fn answer(
        &self,
        route: &Route,
        subject: &Subject<'_>,
        path: &str,
    ) -> Result<Answered, TemplateError> {
        self.choose(&route.answers, &self.view(subject, path)?)
    }

    /// The answer to a request that is refused, where the dialect has one of its own.
    pub fn refused(
        &self,
        refusal: &Refusal<'_>,
        mount: &str,
        prefix: &str,
        now: Timestamp,
    ) -> Result<Option<Document>, TemplateError> {
        let view = refusal.view(mount, prefix, now);
        match self.matching(&self.problems, &view)? {
            Some(answer) => match self.render(answer, &view)? {
                Answered::Document(document) => Ok(Some(document)),
                Answered::Replay => Ok(None),
            },
            None => Ok(None),
        }
    }

    fn view(&self, subject: &Subject<'_>, path: &str) -> Result<Value, TemplateError> {
        let mut view = subject.view(self, path);
        let state = subject.operation.state_name();
        let name = self.states.iter().find(|(known, _)| *known == state);
        if let Some((_, name)) = name {
            let name = self.templates.render(name, &view.clone().value())?;
            view.insert("status", name);
        }
        Ok(view.value())
    }

    fn choose(&self, answers: &[Answer], view: &Value) -> Result<Answered, TemplateError> {
        let answer = self.matching(answers, view)?.ok_or_else(no_answer)?;
        self.render(answer, view)
    }

    fn matching<'a>(
        &self,
        answers: &'a [Answer],
        view: &Value,
    ) -> Result<Option<&'a Answer>, TemplateError> {
        for answer in answers {
            let applies = match &answer.when {
                Some(condition) => self.templates.holds(condition, view)?,
                None => true,
            };
            if applies {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    fn render(&self, answer: &Answer, view: &Value) -> Result<Answered, TemplateError> {
        let Content::Document { status, headers, body } = &answer.content else {
            return Ok(Answered::Replay);
        };
        let mut rendered = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let value = self.templates.render(value, view)?;
            if !value.is_empty() {
                rendered.push((name.clone(), value));
            }
        }
        let body = match body {
            Some((media_type, text)) => {
                Some((media_type.clone(), self.templates.render(text, view)?))
            }
            None => None,
        };
        Ok(Answered::Document(Document { status: *status, headers: rendered, body }))
    }
}

fn no_answer() -> TemplateError {
    TemplateError { line: 0, reason: "no answer applies".to_owned() }
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
