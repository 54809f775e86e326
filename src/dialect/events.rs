//! Event streams of a dialect: an operation's transitions as events.
//!
//! An answer that is a stream has tables. For every transition, and for progress, each table that applies makes one
//! event. An event's number depends only on the revision and the table's place, so a replay has the same numbers, and a
//! client can resume after any event.

use minijinja::Value;

use super::Dialect;
use super::json::View;
use super::scene::Scene;
use super::template::{Template, TemplateError};
use super::view::Subject;
use crate::operation::{EventType, Revision};

/// The name of the event for a failure, if the dialect has none for it.
pub const PROBLEM: &str = "problem";

/// An answer that is a stream of events.
#[derive(Clone, Debug)]
pub struct Events {
    pub(super) tables: Vec<Table>,
    /// The query parameter with the number of the last event that a client has received.
    pub resume: Option<String>,
    /// The text after the last event.
    pub(super) closing: Option<Template>,
}

/// The templates of one event.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// When it applies; `None`: always.
    pub(super) when: Option<Template>,
    pub(super) event: Option<Template>,
    pub(super) id: Option<Template>,
    pub(super) data: Template,
}

/// A complete event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; may be empty.
    pub name: String,
    /// Its id; may be empty.
    pub id: String,
    /// Its data.
    pub data: String,
}

impl Events {
    /// The templates.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.tables.iter().flat_map(Table::templates).chain(&self.closing)
    }

    fn count(&self) -> u64 {
        self.tables.len().max(1) as u64
    }

    /// The revision after which a stream begins for a client that has received events up to `seen`. [`Dialect::tell`]
    /// omits events of the next revision that it has received.
    pub fn after(&self, seen: Option<u64>) -> Revision {
        Revision(seen.map_or(0, |seen| seen / self.count()))
    }

    /// The number of the last event of a revision.
    pub fn last(&self, revision: Revision) -> u64 {
        revision.0.saturating_mul(self.count()).saturating_sub(1)
    }

    fn number(&self, revision: Revision, table: usize) -> u64 {
        revision.0.saturating_sub(1).saturating_mul(self.count()).saturating_add(table as u64)
    }
}

impl Table {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.when.iter().chain(&self.event).chain(&self.id).chain([&self.data])
    }
}

impl Dialect {
    /// The events for a transition, or for progress if `None`; without those up to `seen`.
    pub fn tell(
        &self,
        events: &Events,
        scene: &Scene<'_>,
        subject: &Subject<'_>,
        transition: Option<EventType>,
        seen: Option<u64>,
    ) -> Result<Vec<Event>, TemplateError> {
        let view = self.operation(scene, subject)?;
        let revision = subject.operation.life.revision;
        let mut told = Vec::new();
        for (at, table) in events.tables.iter().enumerate() {
            // Progress is new, whatever was sent before.
            let number = match transition {
                Some(_) => events.number(revision, at),
                None => events.last(revision),
            };
            if transition.is_none() || seen.is_none_or(|seen| seen < number) {
                told.extend(self.event(table, &moment(&view, transition, number))?);
            }
        }
        Ok(told)
    }

    /// The events of all tables that apply to a moment.
    pub(super) fn events(
        &self,
        events: &Events,
        moment: &Value,
    ) -> Result<Vec<Event>, TemplateError> {
        let told = events.tables.iter().map(|table| self.event(table, moment));
        told.filter_map(Result::transpose).collect()
    }

    /// The event of a table, if it applies.
    fn event(&self, table: &Table, view: &Value) -> Result<Option<Event>, TemplateError> {
        if let Some(when) = &table.when
            && !self.templates.holds(when, view)?
        {
            return Ok(None);
        }
        let render = |template: &Template| self.templates.render(template, view);
        let optional = |template: &Option<Template>| {
            template.as_ref().map(render).transpose().map(Option::unwrap_or_default)
        };
        let (name, id) = (optional(&table.event)?, optional(&table.id)?);
        Ok(Some(Event { name, id, data: render(&table.data)? }))
    }

    /// The event after the end of a complete stream.
    pub fn closing(
        &self,
        events: &Events,
        scene: &Scene<'_>,
        subject: &Subject<'_>,
    ) -> Result<Option<Event>, TemplateError> {
        let Some(closing) = &events.closing else { return Ok(None) };
        let view = self.operation(scene, subject)?;
        let number = events.last(subject.operation.life.revision);
        let data = self.templates.render(closing, &moment(&view, None, number))?;
        Ok(Some(Event { data, ..Event::default() }))
    }
}

/// The variables of an event's templates: the operation, and the event.
pub(super) fn moment(view: &View, transition: Option<EventType>, number: u64) -> Value {
    let mut view = view.clone();
    view.insert("transition", transition.map(EventType::as_str));
    view.insert("sequence", number);
    view.value()
}
