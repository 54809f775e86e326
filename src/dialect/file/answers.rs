//! Answers and templates of a dialect's file, each with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use toml::Spanned;

use super::super::answer::{Answer, Content, Status};
use super::super::events::{self, Events};
use super::super::template::{Form, Template, TemplateError};
use super::super::{Action, FileError};
use super::super::{near, variables};
use super::tables::{AnswerTable, EventTable};
use super::{Kind, Known, Reader};

impl Reader<'_> {
    pub(super) fn answers(
        &mut self,
        tables: &[Spanned<AnswerTable>],
        known: Known<'_>,
        kind: Kind,
    ) -> Result<Vec<Answer>, FileError> {
        tables.iter().map(|table| self.answer(table, known, kind)).collect()
    }

    fn answer(
        &mut self,
        table: &Spanned<AnswerTable>,
        known: Known<'_>,
        kind: Kind,
    ) -> Result<Answer, FileError> {
        let at = table.span().start;
        let table = table.as_ref();
        let when = match &table.when {
            Some(source) => Some(self.condition(source, known)?),
            None => None,
        };
        if table.replay {
            let is_alone = table.status.is_none()
                && table.headers.is_empty()
                && table.content_type.is_none()
                && table.body.is_none()
                && !table.tells();
            if !is_alone || !matches!(kind, Kind::Submission | Kind::Route(Some(Action::Read))) {
                let rule = "replay is for submissions and for routes that read an operation, and excludes all other \
                            keys but when";
                return self.wrong(at, rule);
            }
            return Ok(Answer { when, content: Content::Replay });
        }
        let events = self.events(at, table, known, kind)?;
        if table.status.is_none() && kind != Kind::Problem && events.is_none() {
            return self.wrong(at, "an answer must have a status, or replay = true");
        }
        let status = match &table.status {
            Some(status) => Some(self.status(status, known)?),
            None => None,
        };
        let mut headers = Vec::new();
        for (name, value) in &table.headers {
            headers.push((self.header(name)?, self.template(Form::Text, value, known)?));
        }
        let media_type = self.media_type(table.content_type.as_ref())?;
        let body = match &table.body {
            Some(body) => {
                let template = self.template(Form::of(&media_type), body, known)?;
                Some((media_type, template))
            }
            None => None,
        };
        Ok(Answer { when, content: Content::Document { status, headers, body, events } })
    }

    /// The events of the answer, instead of a body.
    fn events(
        &mut self,
        at: usize,
        table: &AnswerTable,
        known: Known<'_>,
        kind: Kind,
    ) -> Result<Option<Arc<Events>>, FileError> {
        if !table.tells() {
            return Ok(None);
        }
        let shared = Arc::clone(&self.events);
        let source = self.source(at, table, &shared)?;
        self.check_place(at, table, kind)?;
        let known = |variable: &str| variables::or_of_events(variable, known(variable));
        let mut tables = Vec::new();
        for event in source {
            let EventTable { when, event, id, data } = event.as_ref();
            let when = when.as_ref().map(|it| self.condition(it, &known)).transpose()?;
            let mut text = |source: &Option<Spanned<String>>| {
                source.as_ref().map(|it| self.template(Form::Text, it, &known)).transpose()
            };
            let (event, id) = (text(event)?, text(id)?);
            let data = self.template(Form::Json, data, &known)?;
            tables.push(events::Table { when, event, id, data });
        }
        let closing = table.closing.as_ref();
        let closing = closing.map(|it| self.template(Form::Text, it, &known)).transpose()?;
        let resume = table.resume.as_ref().map(|name| name.as_ref().clone());
        Ok(Some(Arc::new(Events { tables, resume, closing })))
    }

    /// The tables of the answer's events: its own, or shared ones.
    fn source<'a>(
        &self,
        at: usize,
        table: &'a AnswerTable,
        shared: &'a BTreeMap<String, Vec<Spanned<EventTable>>>,
    ) -> Result<&'a [Spanned<EventTable>], FileError> {
        let source = match &table.events {
            None => &table.event,
            Some(name) if table.event.is_empty() => match shared.get(name.as_ref()) {
                Some(tables) => tables,
                None => {
                    let near = near::question(name.as_ref(), shared.keys().map(String::as_str));
                    let rule = format!("there is no [[events.{}]]{near}", name.as_ref());
                    return self.wrong(name.span().start, rule);
                }
            },
            Some(_) => return self.wrong(at, "an answer must have either events or event"),
        };
        if source.is_empty() {
            return self
                .wrong(at, "resume and closing are for answers with events, or [[event]] tables");
        }
        Ok(source)
    }

    /// Refuses events in an answer that cannot be a stream.
    fn check_place(&self, at: usize, table: &AnswerTable, kind: Kind) -> Result<(), FileError> {
        match kind {
            // A problem is a response to a refused request, or an event if a stream fails.
            Kind::Problem if table.resume.is_none() && table.closing.is_none() => Ok(()),
            Kind::Problem => self.wrong(at, "a problem must have neither resume nor closing"),
            Kind::Submission | Kind::Route(Some(Action::Read)) => {
                if table.body.is_some() || table.content_type.is_some() {
                    let rule = "an answer must have either body and content_type, or event";
                    return self.wrong(at, rule);
                }
                Ok(())
            }
            Kind::Route(_) => {
                let rule = "event is for submissions, problems, and routes that read an operation";
                self.wrong(at, rule)
            }
        }
    }

    fn status(
        &mut self,
        given: &Spanned<toml::Value>,
        known: Known<'_>,
    ) -> Result<Status, FileError> {
        match given.as_ref() {
            toml::Value::Integer(number @ 200..=599) => Ok(Status::Number(*number as u16)),
            toml::Value::String(text) => {
                let text = Spanned::new(given.span(), text.clone());
                self.template(Form::Text, &text, known).map(Status::Made)
            }
            _ => self.wrong(given.span().start, "status must be from 200 to 599, or a template"),
        }
    }

    fn header(&self, name: &Spanned<String>) -> Result<HeaderName, FileError> {
        // Fields that frame a message are not the dialect's to set.
        const OWN: [&str; 5] =
            ["connection", "content-length", "content-type", "transfer-encoding", "date"];
        match HeaderName::try_from(name.as_ref().as_str()) {
            Ok(name) if !OWN.contains(&name.as_str()) => Ok(name),
            _ => {
                let rule = format!("headers must not have {}", name.as_ref());
                self.wrong(name.span().start, rule)
            }
        }
    }

    fn media_type(&self, given: Option<&Spanned<String>>) -> Result<String, FileError> {
        let Some(given) = given else { return Ok("application/json".to_owned()) };
        let text = given.as_ref();
        if text.contains('/') && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Ok(text.clone());
        }
        self.wrong(given.span().start, "content_type must be a media type")
    }

    pub(super) fn template(
        &mut self,
        form: Form,
        source: &Spanned<String>,
        known: Known<'_>,
    ) -> Result<Template, FileError> {
        let made = self.templates.add(form, source.as_ref(), known);
        self.placed(source, made)
    }

    pub(super) fn macros(&mut self, source: &Spanned<String>) -> Result<(), FileError> {
        let made = self.templates.add_macros(source.as_ref());
        made.map_err(|error| self.misplaced(source, error))
    }

    fn condition(
        &mut self,
        source: &Spanned<String>,
        known: Known<'_>,
    ) -> Result<Template, FileError> {
        let made = self.templates.add_condition(source.as_ref(), known);
        self.placed(source, made)
    }

    fn placed(
        &mut self,
        source: &Spanned<String>,
        made: Result<Template, TemplateError>,
    ) -> Result<Template, FileError> {
        let template = made.map_err(|error| self.misplaced(source, error))?;
        let first = self.first_line(source);
        self.lines.templates.push((template.clone(), first));
        Ok(template)
    }

    fn misplaced(&self, source: &Spanned<String>, error: TemplateError) -> FileError {
        let TemplateError { line, reason } = error;
        FileError { line: self.first_line(source) + line + 1, column: None, reason }
    }

    /// The line, from 0, of a string's first line.
    fn first_line(&self, string: &Spanned<String>) -> usize {
        let span = string.span();
        let written = self.text.get(span.clone()).unwrap_or_default();
        let begins_below = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"]
            .iter()
            .any(|opening| written.starts_with(opening));
        FileError::at(self.text, span.start, "").line - 1 + usize::from(begins_below)
    }
}
