//! The templates, compiled once. Every value is escaped, whatever its source, and characters that would hide or reverse
//! other text are shown as escapes.

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, escape_formatter};
use serde::Serialize;

use crate::service::{Reason, ServiceError};
use crate::words::is_hidden;

/// The templates by name.
macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        const SOURCES: &[(&str, &str)] = &[$(($name, include_str!(concat!("templates/", $name)))),+];
    };
}

templates! {
    "layout.html", "macros.html", "field.html", "operations.html", "rows.html", "sign_in.html", "problem.html",
    "operation.html", "operation_head.html", "operation_facts.html", "operation_troubles.html",
    "operation_timeline.html", "operation_steps.html", "operation_log.html", "operation_contents.html",
    "operation_children.html",
    "kinds.html", "kind_rows.html", "workers.html", "worker_rows.html",
    "webhooks.html", "webhook.html", "webhook_secret.html", "deliveries.html", "delivery_list.html",
    "delivery_rows.html", "operation_deliveries.html",
    "shares.html", "bulk.html", "bulk_done.html", "start.html", "started.html", "system.html", "system_figures.html",
}

#[derive(Debug)]
pub(super) struct Templates(Environment<'static>);

impl Templates {
    /// Compiles all templates.
    pub(super) fn new() -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // Nothing is written unescaped.
        environment.remove_filter("safe");
        environment.set_formatter(|out, state, value| match value.as_str() {
            Some(text) if !value.is_safe() => Ok(out.write_str(&escaped(&plain(text)))?),
            _ => escape_formatter(out, state, value),
        });
        if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
            environment.set_syntax(syntax);
        }
        for (name, source) in SOURCES {
            environment.add_template(name, source)?;
        }
        Ok(Self(environment))
    }

    /// Renders the template over `view`.
    pub(super) fn render(&self, name: &str, view: impl Serialize) -> Result<String, ServiceError> {
        let template = self.0.get_template(name);
        template.and_then(|template| template.render(Value::from(Serde(view)))).map_err(|error| {
            tracing::error!(template = name, error = format!("{error:#}"), "a page was not made");
            ServiceError::new(Reason::Internal, "the page could not be made")
        })
    }
}

/// What HTML writes by a reference, inside and outside quotes.
const REFERENCES: [(char, &str); 5] =
    [('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#39;"), ('&', "&amp;")];

/// Escapes the text for HTML, inside and outside quotes.
fn escaped(text: &str) -> Cow<'_, str> {
    let reference = |c: char| REFERENCES.iter().find(|(it, _)| *it == c).map(|(_, it)| *it);
    if !text.contains(|c| reference(c).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut html = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match reference(c) {
            Some(reference) => html.push_str(reference),
            None => html.push(c),
        }
    }
    Cow::Owned(html)
}

/// The text that was escaped.
pub(super) fn unescaped(html: &str) -> String {
    // The ampersand last: what it begins then is no reference of ours.
    let replace = |text: String, (c, reference): &(char, &str)| {
        text.replace(reference, c.encode_utf8(&mut [0; 4]))
    };
    REFERENCES.iter().fold(html.to_owned(), replace)
}

/// Writes invisible characters, and those that change the order of others, as `\u{…}`.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hide_is_shown() {
        assert_eq!(plain("a\u{202e}b\x1b[\n\tc"), "a\\u{202e}b\\u{1b}[\n\tc");
        assert!(matches!(plain("añ b👩‍🚀"), Cow::Borrowed(_)));
        let (text, html) = ("<a b=\"c\">'&/&amp;", "&lt;a b=&quot;c&quot;&gt;&#39;&amp;/&amp;amp;");
        assert_eq!((escaped(text).as_ref(), unescaped(html).as_str()), (html, text));
    }
}
