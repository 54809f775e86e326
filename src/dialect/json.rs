//! JSON in templates: values of workers and clients keep their text, numbers above all.
//!
//! A template computes with 64-bit floats and 128-bit integers, as which `1.10` is `1.1`, and `1e400` nothing. So the
//! objects and lists of a document keep their text, by which they are written; a number by itself is what a template
//! can compute with, and its text is found again by its value. What no float or integer holds is text alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, Serde};
use serde_json::{Map, Value as Json};

use super::trial::{self, Routes};
use super::variables;

mod read;
#[cfg(test)]
mod tests;
mod tokens;
mod write;

pub(super) use tokens::compact;
pub(super) use write::{environment_for, install};

/// Deepest nesting of a document that templates read, and of what they write; as that of the library's parser.
const MAX_DEPTH: usize = 128;

/// The variables of a template.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    variables: BTreeMap<String, Value>,
    texts: Arc<Texts>,
    /// While templates are tried.
    trial: Option<Routes>,
}

/// How the floats of a view's documents were written: by their bits, and none where one was written in several ways.
type Texts = HashMap<u64, Option<Box<str>>>;

impl View {
    /// The view of these variables.
    pub(super) fn of(variables: Map<String, Json>) -> Self {
        let variables = variables.into_iter();
        let variables = variables.map(|(name, value)| (name, Value::from(Serde(value)))).collect();
        Self { variables, texts: Arc::default(), trial: None }
    }

    /// The same for templates that are tried: what names a member that nothing has fails. `routes` are those of the
    /// dialect.
    pub(super) fn on_trial(self, routes: &Routes) -> Self {
        Self { trial: Some(Arc::clone(routes)), ..self }
    }

    /// Adds a variable.
    pub(super) fn insert(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Adds all the variables as the members of one more.
    pub(super) fn insert_itself(&mut self, name: &str) {
        self.insert(name, Value::from_pairs(self.variables.clone()));
    }

    /// Makes a document the member of a variable that has members; nothing becomes of what is not JSON.
    pub(super) fn insert_json(&mut self, name: &str, member: &str, document: &[u8]) {
        let Some(variable) = self.variables.get_mut(name) else { return };
        let Some(members) = variable.as_object().and_then(DynObject::try_iter_pairs) else {
            return;
        };
        let Ok(Ok(text)) = std::str::from_utf8(document).map(compact) else { return };
        let Some(value) = read::read(&text, Arc::make_mut(&mut self.texts)) else { return };
        let others = members.filter(|(key, _)| key.as_str() != Some(member));
        *variable = Value::from_pairs(others.chain([(Value::from(member), value)]));
    }

    /// Adds a list of views.
    pub(super) fn insert_all(&mut self, name: &str, views: Vec<Self>) {
        let texts = Arc::make_mut(&mut self.texts);
        for (bits, text) in views.iter().flat_map(|view| view.texts.iter()) {
            let known = texts.entry(*bits).or_insert_with(|| text.clone());
            if known != text {
                *known = None;
            }
        }
        let views = views.into_iter().map(|view| Value::from_pairs(view.variables));
        self.insert(name, Value::from_iter(views));
    }

    /// The view as templates take it.
    pub(super) fn value(self) -> Value {
        Value::from_object(self)
    }
}

impl Object for View {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let value = self.variables.get(name)?.clone();
        Some(match &self.trial {
            Some(routes) => trial::guarded(value, variables::shape(name), routes),
            None => value,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.variables.keys().map(Value::from).collect())
    }
}
