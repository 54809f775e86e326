//! Chooses one of several answers, and renders it.

use std::sync::Arc;

use http::HeaderName;
use minijinja::Value;
use minijinja::value::Serde;

use super::events::{self, Event, Events};
use super::json::View;
use super::scene::Scene;
use super::template::{Template, TemplateError};
use super::view::{Refusal, Subject};
use super::{Dialect, Route};

/// One possible answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// When it applies; `None`: always.
    pub(super) when: Option<Template>,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Document {
        status: Option<Status>,
        headers: Vec<(HeaderName, Template)>,
        body: Option<(String, Template)>,
        /// The events instead of a body; for a problem, its events within a stream.
        events: Option<Arc<Events>>,
    },
    /// The response of a synchronous call.
    Replay,
}

/// The HTTP status of an answer.
#[derive(Clone, Debug)]
pub(super) enum Status {
    Number(u16),
    /// A template that renders a number.
    Made(Template),
}

/// The subject of an answer.
#[derive(Clone, Copy, Debug)]
pub enum About<'a> {
    /// The mount itself.
    Mount,
    /// An operation.
    Operation(&'a Subject<'a>),
    /// A page of operations.
    List {
        /// The operations, in order.
        subjects: &'a [Subject<'a>],
        /// The token of the next page; empty on the last one.
        next_page_token: &'a str,
    },
    /// A refused request.
    Refusal(&'a Refusal<'a>),
}

/// A rendered answer.
#[derive(Clone, Debug)]
pub enum Answered {
    /// A document.
    Document(Document),
    /// A document whose body is the operation's events.
    Events(Document, Arc<Events>),
    /// The response of a synchronous call.
    Replay,
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The HTTP status, if the answer names one.
    pub status: Option<u16>,
    /// Header fields; empty ones are left out.
    pub headers: Vec<(HeaderName, String)>,
    /// Media type and text.
    pub body: Option<(String, String)>,
}

impl Answer {
    /// The templates.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        let (status, headers, body, events) = match &self.content {
            Content::Document { status, headers, body, events } => {
                (status.as_ref(), headers.as_slice(), body.as_ref(), events.as_ref())
            }
            Content::Replay => (None, &[][..], None, None),
        };
        let status = status.and_then(|status| match status {
            Status::Number(_) => None,
            Status::Made(template) => Some(template),
        });
        let headers = headers.iter().map(|(_, value)| value);
        let events = events.into_iter().flat_map(|events| events.templates());
        let body = body.map(|(_, text)| text);
        self.when.iter().chain(status).chain(headers).chain(body).chain(events)
    }
}

impl Dialect {
    /// The answer to a submission.
    pub fn submitted(
        &self,
        scene: &Scene<'_>,
        subject: &Subject<'_>,
    ) -> Result<Answered, TemplateError> {
        let view = self.view(scene, About::Operation(subject))?.value();
        self.choose(&self.submit.answers, &view)?.ok_or_else(no_answer)
    }

    /// The answer of a route.
    pub fn answer(
        &self,
        route: &Route,
        scene: &Scene<'_>,
        about: About<'_>,
    ) -> Result<Answered, TemplateError> {
        let view = self.view(scene, about)?.value();
        self.choose(&route.answers, &view)?.ok_or_else(no_answer)
    }

    /// The answer to a refused request, if the dialect has one of its own.
    pub fn refused(
        &self,
        scene: &Scene<'_>,
        refusal: &Refusal<'_>,
    ) -> Result<Option<Document>, TemplateError> {
        let view = self.view(scene, About::Refusal(refusal))?.value();
        Ok(match self.choose(&self.problems, &view)? {
            Some(Answered::Document(document) | Answered::Events(document, _)) => Some(document),
            Some(Answered::Replay) | None => None,
        })
    }

    /// The events for a failure within a stream: those of the problem that applies, or one made of its body; empty if
    /// it has neither. `number` is the last event's.
    pub fn tell_refusal(
        &self,
        scene: &Scene<'_>,
        refusal: &Refusal<'_>,
        number: u64,
    ) -> Result<Vec<Event>, TemplateError> {
        let view = self.view(scene, About::Refusal(refusal))?;
        let chosen = self.choose(&self.problems, &view.clone().value())?;
        let body = match chosen {
            Some(Answered::Events(document, tables)) => {
                let moment = events::moment(&view, None, number);
                let told = self.events(&tables, &moment)?;
                if !told.is_empty() {
                    return Ok(told);
                }
                document.body
            }
            Some(Answered::Document(document)) => document.body,
            Some(Answered::Replay) | None => None,
        };
        let event =
            |(_, data)| Event { name: events::PROBLEM.to_owned(), data, ..Event::default() };
        Ok(body.map(event).into_iter().collect())
    }

    /// The variables of templates.
    pub(super) fn view(&self, scene: &Scene<'_>, about: About<'_>) -> Result<View, TemplateError> {
        let mut view = match about {
            About::Operation(subject) => return self.operation(scene, subject),
            About::Mount | About::List { .. } | About::Refusal(_) => {
                View::of(scene.view(self, None))
            }
        };
        match about {
            About::Mount | About::Operation(_) => {}
            About::List { subjects, next_page_token } => {
                let operations = subjects.iter().map(|subject| self.operation(scene, subject));
                view.insert_all("operations", operations.collect::<Result<_, _>>()?);
                view.insert("next_page_token", next_page_token);
            }
            About::Refusal(refusal) => view.insert("problem", Value::from(Serde(refusal.view()))),
        }
        Ok(view)
    }

    /// The view of an operation, with the dialect's own name of its state.
    pub(super) fn operation(
        &self,
        scene: &Scene<'_>,
        subject: &Subject<'_>,
    ) -> Result<View, TemplateError> {
        let mut view = subject.view(self, scene);
        let state = subject.operation.state_name();
        if let Some((_, name)) = self.states.iter().find(|(known, _)| *known == state) {
            let name = self.templates.render(name, &view.clone().value())?;
            view.insert("status", name);
        }
        // Also as a whole, to be passed to macros.
        view.insert_itself("operation");
        Ok(view)
    }

    fn choose(&self, answers: &[Answer], view: &Value) -> Result<Option<Answered>, TemplateError> {
        for answer in answers {
            let applies = match &answer.when {
                Some(condition) => self.templates.holds(condition, view)?,
                None => true,
            };
            if applies {
                return self.render(answer, view).map(Some);
            }
        }
        Ok(None)
    }

    fn render(&self, answer: &Answer, view: &Value) -> Result<Answered, TemplateError> {
        let Content::Document { status, headers, body, events } = &answer.content else {
            return Ok(Answered::Replay);
        };
        let status = match status {
            Some(Status::Number(number)) => Some(*number),
            Some(Status::Made(template)) => Some(self.status(template, view)?),
            None => None,
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
        let document = Document { status, headers: rendered, body };
        Ok(match events {
            Some(events) => Answered::Events(document, Arc::clone(events)),
            None => Answered::Document(document),
        })
    }

    /// The number that the template renders.
    pub(super) fn status(&self, template: &Template, view: &Value) -> Result<u16, TemplateError> {
        let text = self.templates.render(template, view)?;
        let number = text.trim().parse().ok().filter(|number| (200..=599).contains(number));
        number.ok_or_else(|| TemplateError {
            line: 0,
            reason: format!("the status must be from 200 to 599, and is {text:?}"),
        })
    }
}

fn no_answer() -> TemplateError {
    TemplateError { line: 0, reason: "no answer applies".to_owned() }
}
