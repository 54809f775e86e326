//! JSON in templates: values of workers and clients keep their text, above all numbers.
//!
//! A template computes with 64-bit floats and 128-bit integers, where `1.10` is `1.1`, and `1e400` is nothing. So a
//! document's objects and lists keep their text, by which they are written; a number by itself is a value for
//! computing, and its text is looked up by its value. A number that no float or integer holds is only text.

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

/// The maximum nesting of documents that templates read and write; the same as the library's parser has.
const MAX_DEPTH: usize = 128;

/// The variables of a template.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    variables: BTreeMap<String, Value>,
    texts: Arc<Texts>,
    /// Set during trials.
    trial: Option<Routes>,
}

/// The texts of the floats in a view's documents, by their bits; `None` if one has several texts.
type Texts = HashMap<u64, Option<Box<str>>>;

impl View {
    /// A view with these variables.
    pub(super) fn of(variables: Map<String, Json>) -> Self {
        let variables = variables.into_iter();
        let variables = variables.map(|(name, value)| (name, Value::from(Serde(value)))).collect();
        Self { variables, texts: Arc::default(), trial: None }
    }

    /// Puts the view on trial: a name that cannot exist becomes an error. `routes` are the dialect's.
    pub(super) fn on_trial(self, routes: &Routes) -> Self {
        Self { trial: Some(Arc::clone(routes)), ..self }
    }

    /// Adds a variable.
    pub(super) fn insert(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Adds all the variables as the members of one more variable.
    pub(super) fn insert_itself(&mut self, name: &str) {
        self.insert(name, Value::from_pairs(self.variables.clone()));
    }

    /// Adds a document as a member of a variable that has members; ignores text that is not JSON.
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

    /// The view as the library's value.
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
