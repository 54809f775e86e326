//! What templates can name, how values are escaped, and how far a template can go.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use super::super::{json, times};
use crate::operation::filter::quoted;

/// The maximum number of steps of one template.
const FUEL: u64 = 1_000_000;
/// The maximum nesting of macros and blocks.
const MAX_DEPTH: usize = 64;

/// The name by which templates import the macros of their dialect.
pub(super) const MACROS: &str = "macros";

pub(super) fn new() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| match name.rsplit('.').next() {
        Some("json") => AutoEscape::Json,
        Some("html") => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    // `add` finds misspelt variables; anything else that is missing is none.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    json::install(&mut environment);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_DEPTH);
    // The author's text stays unchanged.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    // Macros escape values like the template that imports them.
    environment.set_path_join_callback(|name, parent| match (name, parent.rsplit('.').next()) {
        (MACROS, Some(extension)) => format!("{MACROS}.{extension}").into(),
        _ => name.into(),
    });
    // Values are escaped without exception.
    environment.remove_filter("safe");
    environment.remove_global("debug");
    environment.add_filter("time", |value: &Value, pattern: &str| times::format(value, pattern));
    environment.add_filter("quoted", |value: &Value| {
        match value.is_none() || value.is_undefined() {
            true => quoted(""),
            false => quoted(&value.to_string()),
        }
    });
    environment
}
