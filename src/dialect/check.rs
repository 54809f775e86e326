//! Checks at start: renders every answer for operations of every state, and for plain and odd requests.

use http::HeaderValue;
use minijinja::Value;

use super::answer::{About, Answer, Content, Status};
use super::events::{self, Events};
use super::file::Lines;
use super::json::View;
use super::scene::Scene;
use super::template::{Template, TemplateError};
use super::trial::Routes;
use super::view::{Refusal, Subject};
use super::{Action, Dialect, FileError, List, Target, sample};
use crate::operation::filter::Filter;
use crate::operation::{EventType, Kind};

/// Refuses a dialect that could not answer, or not in its declared form.
pub(super) fn check(dialect: &Dialect, text: &str, lines: &Lines) -> Result<(), FileError> {
    let routes = dialect.routes.iter().map(|route| route.name.clone()).collect();
    let check = Check { dialect, text, lines, routes };
    let kind = Kind::parse("sample").map_err(|error| FileError::at(text, 0, error.to_string()))?;
    let operations = sample::operations(&kind);
    let subjects: Vec<Subject<'_>> = operations.iter().map(sample::subject).collect();
    for setting in sample::settings(dialect) {
        let scene = setting.scene();
        for subject in &subjects {
            check.operation(&scene, subject)?;
        }
        check.routes_without_id(&scene, &subjects)?;
        check.refusals(&scene)?;
    }
    Ok(())
}

struct Check<'a> {
    dialect: &'a Dialect,
    text: &'a str,
    lines: &'a Lines,
    routes: Routes,
}

impl Check<'_> {
    fn operation(&self, scene: &Scene<'_>, subject: &Subject<'_>) -> Result<(), FileError> {
        let operation = subject.operation;
        let state = operation.state_name();
        let bare = subject.view(self.dialect, scene).on_trial(&self.routes).value();
        for (_, name) in self.dialect.states.iter().filter(|(known, _)| *known == state) {
            self.render(name, &bare)?;
        }
        let routes = self.dialect.routes.iter().zip(&self.lines.routes);
        let routes = routes.filter_map(|(route, at)| match route.target {
            Target::Operation(action) => {
                Some((&route.answers, format!("route {}", route.name), *at, action))
            }
            Target::Mount | Target::List(_) => None,
        });
        let submit = &self.dialect.submit.answers;
        let submit = (submit, "submit".to_owned(), self.lines.submit, Action::Read);
        for (answers, name, at, action) in routes.chain([submit]) {
            let subject = Subject {
                dismissed: (action == Action::Dismiss).then_some("cancelled"),
                ..subject.clone()
            };
            let view = self.view(scene, About::Operation(&subject))?;
            let Some(answer) = self.chosen(answers, &view)? else {
                let reason = format!(
                    "{name} has no answer for an operation that is {state}: the last one must apply to all"
                );
                return Err(FileError::at(self.text, at, reason));
            };
            if matches!(answer.content, Content::Replay) && !operation.is_done() {
                let reason = format!(
                    "{name} has nothing to replay for an operation that is {state}: an answer before it must be for \
                     operations that are not done"
                );
                return Err(FileError::at(self.text, at, reason));
            }
            self.answer(answer, &view)?;
            for answer in answers {
                if let Content::Document { events: Some(events), .. } = &answer.content {
                    self.events(events, scene, &subject)?;
                }
            }
        }
        Ok(())
    }

    /// Renders every event of the operation's transitions.
    fn events(
        &self,
        events: &Events,
        scene: &Scene<'_>,
        subject: &Subject<'_>,
    ) -> Result<(), FileError> {
        let view = self.unfinished(scene, About::Operation(subject))?;
        let transitions = EventType::ALL.into_iter().map(Some);
        for transition in transitions.chain([None]) {
            let moment = events::moment(&view, transition, 7);
            self.tables(events, &moment)?;
            events.closing.as_ref().map(|closing| self.render(closing, &moment)).transpose()?;
        }
        Ok(())
    }

    /// Renders every event of one moment.
    fn tables(&self, events: &Events, moment: &Value) -> Result<(), FileError> {
        for table in &events.tables {
            let applies = table.when.as_ref().map(|when| self.render(when, moment));
            if applies.transpose()?.is_none_or(|text| !text.is_empty()) {
                for template in table.event.iter().chain(&table.id).chain([&table.data]) {
                    self.render(template, moment)?;
                }
            }
        }
        Ok(())
    }

    /// Renders the routes of mounts, and lists: an empty one, and one with all operations.
    fn routes_without_id(
        &self,
        scene: &Scene<'_>,
        subjects: &[Subject<'_>],
    ) -> Result<(), FileError> {
        let whole = About::List { subjects, next_page_token: "more" };
        let empty = About::List { subjects: &[], next_page_token: "" };
        for (route, at) in self.dialect.routes.iter().zip(&self.lines.routes) {
            let abouts = match &route.target {
                Target::Mount => &[About::Mount][..],
                Target::List(list) => {
                    let view = self.view(scene, About::Mount)?;
                    for template in list.templates() {
                        self.render(template, &view)?;
                    }
                    self.filter(list, scene, &view)?;
                    &[empty, whole]
                }
                Target::Operation(_) => continue,
            };
            for about in abouts {
                let view = self.view(scene, *about)?;
                let Some(answer) = self.chosen(&route.answers, &view)? else {
                    let reason = format!(
                        "route {} does not always have an answer: the last one must apply to all",
                        route.name
                    );
                    return Err(FileError::at(self.text, *at, reason));
                };
                self.answer(answer, &view)?;
            }
        }
        Ok(())
    }

    /// A plain request must make a valid filter. An odd one may make one that is refused.
    fn filter(&self, list: &List, scene: &Scene<'_>, view: &Value) -> Result<(), FileError> {
        let Some(template) = list.filter.as_ref().filter(|_| scene.request.parameters.is_empty())
        else {
            return Ok(());
        };
        match Filter::parse(&self.render(template, view)?) {
            Ok(_) => Ok(()),
            Err(error) => {
                let reason = format!("the filter is wrong {error}");
                Err(self.error(template, &TemplateError { line: 0, reason }))
            }
        }
    }

    fn refusals(&self, scene: &Scene<'_>) -> Result<(), FileError> {
        for reason in [
            "RESOURCE_EXHAUSTED",
            "OPERATION_NOT_FOUND",
            "UNAUTHENTICATED",
            "METHOD_NOT_ALLOWED",
            "INTERNAL",
        ] {
            let refusal = Refusal {
                status: 400,
                reason,
                title: "Title",
                message: "\"a\"\\",
                retry_after: (reason == "RESOURCE_EXHAUSTED").then_some(1),
                allow: (reason == "METHOD_NOT_ALLOWED").then_some("GET,OPTIONS"),
            };
            let unfinished = self.unfinished(scene, About::Refusal(&refusal))?;
            let view = unfinished.clone().value();
            if let Some(answer) = self.chosen(&self.dialect.problems, &view)? {
                self.answer(answer, &view)?;
                if let Content::Document { events: Some(events), .. } = &answer.content {
                    self.tables(events, &events::moment(&unfinished, None, 7))?;
                }
            }
        }
        Ok(())
    }

    fn view(&self, scene: &Scene<'_>, about: About<'_>) -> Result<Value, FileError> {
        self.unfinished(scene, about).map(View::value)
    }

    /// The view, to which variables can be added.
    fn unfinished(&self, scene: &Scene<'_>, about: About<'_>) -> Result<View, FileError> {
        let view = self.dialect.view(scene, about).map(|view| view.on_trial(&self.routes));
        view.map_err(|error| FileError::at(self.text, 0, error.reason))
    }

    fn chosen<'a>(
        &self,
        answers: &'a [Answer],
        view: &Value,
    ) -> Result<Option<&'a Answer>, FileError> {
        for answer in answers {
            let applies = match &answer.when {
                Some(condition) => !self.render(condition, view)?.is_empty(),
                None => true,
            };
            if applies {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    fn answer(&self, answer: &Answer, view: &Value) -> Result<(), FileError> {
        let Content::Document { status, headers, body, .. } = &answer.content else {
            return Ok(());
        };
        if let Some(Status::Made(template)) = status {
            let made = self.dialect.status(template, view);
            made.map_err(|error| self.error(template, &error))?;
        }
        for (name, template) in headers {
            let value = self.render(template, view)?;
            if HeaderValue::try_from(&value).is_err() {
                let reason = format!("the header field {name} cannot have the value {value:?}");
                return Err(self.error(template, &TemplateError { line: 0, reason }));
            }
        }
        if let Some((_, template)) = body {
            self.render(template, view)?;
        }
        Ok(())
    }

    fn render(&self, template: &Template, view: &Value) -> Result<String, FileError> {
        let rendered = self.dialect.templates.render(template, view);
        rendered.map_err(|error| self.error(template, &error))
    }

    fn error(&self, template: &Template, error: &TemplateError) -> FileError {
        let line = self.lines.line(template, error.line) + 1;
        FileError { line, column: None, reason: error.reason.clone() }
    }
}
