//! What can be checked before there is an operation: every answer is rendered for operations of every state.

use http::HeaderValue;
use minijinja::Value;

use super::file::Places;
use super::template::{Template, TemplateError};
use super::view::Refusal;
use super::{Answer, Content, Dialect, FileError, sample};
use crate::operation::{Kind, Operation, Timestamp};

/// Refuses a dialect that could not answer, or not with what it says.
pub(super) fn check(dialect: &Dialect, text: &str, places: &Places) -> Result<(), FileError> {
    let check = Check { dialect, text, places };
    let kind = Kind::parse("sample").map_err(|error| FileError::at(text, 0, error.to_string()))?;
    for operation in sample::operations(&kind) {
        check.operation(&operation)?;
    }
    for reason in ["RESOURCE_EXHAUSTED", "OPERATION_NOT_FOUND", "UNAUTHENTICATED", "INTERNAL"] {
        let retry_after = (reason == "RESOURCE_EXHAUSTED").then_some(1);
        let refusal =
            Refusal { status: 400, reason, title: "Title", message: "\"a\"\\", retry_after };
        let view = refusal.view("mount", "/prefix", Timestamp::default());
        for answer in &dialect.problems {
            if check.applies(answer, &view)? {
                check.answer(answer, &view)?;
                break;
            }
        }
    }
    Ok(())
}

struct Check<'a> {
    dialect: &'a Dialect,
    text: &'a str,
    places: &'a Places,
}

impl Check<'_> {
    fn operation(&self, operation: &Operation) -> Result<(), FileError> {
        let history = sample::history(operation);
        let subject = sample::subject(operation, &history);
        let mut view = subject.view(self.dialect, "/prefix/path");
        let state = operation.state_name();
        for (_, name) in self.dialect.states.iter().filter(|(known, _)| *known == state) {
            let name = self.render(name, &view.clone().value())?;
            view.insert("status", name);
        }
        let view = view.value();
        let routes = self.dialect.routes.iter().zip(&self.places.routes);
        let routes =
            routes.map(|(route, at)| (&route.answers, format!("route {}", route.name), *at));
        let submit = (&self.dialect.submit, "submit".to_owned(), self.places.submit);
        for (answers, name, at) in routes.chain([submit]) {
            let mut chosen = None;
            for answer in answers {
                if self.applies(answer, &view)? {
                    chosen = Some(answer);
                    break;
                }
            }
            let Some(answer) = chosen else {
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
        }
        Ok(())
    }

    fn applies(&self, answer: &Answer, view: &Value) -> Result<bool, FileError> {
        match &answer.when {
            Some(condition) => self.render(condition, view).map(|text| !text.is_empty()),
            None => Ok(true),
        }
    }

    fn answer(&self, answer: &Answer, view: &Value) -> Result<(), FileError> {
        let Content::Document { headers, body, .. } = &answer.content else { return Ok(()) };
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
        let line = self.places.line(template, error.line) + 1;
        FileError { line, column: None, reason: error.reason.clone() }
    }
}
