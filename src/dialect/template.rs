//! Templates: compiled once, checked, and rendered within limits.
//!
//! What is written into a JSON document is escaped as JSON (`json`), wherever it comes from, and the whole must be JSON
//! before it is answered.

use std::collections::BTreeSet;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use super::{json, near, quote, scan, times, variables};

/// Most steps that one template takes.
const FUEL: u64 = 1_000_000;
/// Most bytes that one template makes.
const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of macros and blocks.
const MAX_DEPTH: usize = 64;

/// The name by which templates import the macros of their dialect.
const MACROS: &str = "macros";

/// What a template makes, and so how values are escaped in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON: every value is written as JSON.
    Json,
    /// HTML and XML.
    Markup,
    /// Anything else: values stand as they are.
    Text,
}

impl Form {
    /// The form of a media type.
    pub(super) fn of(media_type: &str) -> Self {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.rsplit(['/', '+']).next() {
            Some("json") => Self::Json,
            Some("html" | "xml") => Self::Markup,
            _ => Self::Text,
        }
    }

    /// The end of the names of its templates, by which the library knows how to escape.
    fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Markup => "html",
            Self::Text => "txt",
        }
    }
}

/// A template of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    name: String,
    form: Form,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TemplateError {
    /// The line within the template, from 0, where it is known.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

impl TemplateError {
    fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let is_in_macros = error.name().is_some_and(|name| name.starts_with(MACROS));
        let line = error.line().map_or(0, |line| line.saturating_sub(1));
        let kind = error.kind().to_string();
        let reason = match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind,
        };
        match is_in_macros {
            true => Self::new(0, format!("{reason} (line {} of macros)", line + 1)),
            false => Self::new(line, reason),
        }
    }
}

/// The templates of one dialect.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    count: usize,
    /// All that they use, each with its path.
    variables: BTreeSet<String>,
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|name| match name.rsplit('.').next() {
            Some("json") => AutoEscape::Json,
            Some("html") => AutoEscape::Html,
            _ => AutoEscape::None,
        });
        // Misspelt variables are found by `add`; what else is not there is none.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        json::install(&mut environment);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_DEPTH);
        // What the author has written stands.
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            environment.set_syntax(syntax);
        }
        // Macros write values as the template does that imports them.
        environment.set_path_join_callback(|name, parent| {
            match (name, parent.rsplit('.').next()) {
                (MACROS, Some(extension)) => format!("{MACROS}.{extension}").into(),
                _ => name.into(),
            }
        });
        // Values are escaped, without exception.
        environment.remove_filter("safe");
        environment.remove_global("debug");
        environment
            .add_filter("time", |value: &Value, pattern: &str| times::format(value, pattern));
        environment.add_filter("quoted", |value: &Value| {
            match value.is_none() || value.is_undefined() {
                true => quote::quoted(""),
                false => quote::quoted(&value.to_string()),
            }
        });
        Self { environment, count: 0, variables: BTreeSet::new() }
    }
}

impl Templates {
    /// Takes in a template that uses no other variables than `known`.
    pub(super) fn add(
        &mut self,
        form: Form,
        source: &str,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<Template, TemplateError> {
        let name = format!("{}.{}", self.count, form.extension());
        self.count += 1;
        let variables = self.add_named(&name, source, known)?;
        self.variables.extend(variables);
        Ok(Template { name, form })
    }

    /// Takes in macros, for templates of every form to import. They see what they are given, and nothing else.
    pub(super) fn add_macros(&mut self, source: &str) -> Result<(), TemplateError> {
        for form in [Form::Json, Form::Markup, Form::Text] {
            self.add_named(&format!("{MACROS}.{}", form.extension()), source, &|_| false)?;
        }
        Ok(())
    }

    /// Takes in a template under this name, and returns the variables that it uses.
    fn add_named(
        &mut self,
        name: &str,
        source: &str,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeSet<String>, TemplateError> {
        self.environment.add_template_owned(name.to_owned(), source.to_owned())?;
        self.check_names(source)?;
        let template = self.environment.get_template(name)?;
        let globals: BTreeSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let variables: BTreeSet<String> = template.undeclared_variables(true).into_iter().collect();
        let unknown =
            variables.iter().find(|name| !known(name) && !globals.contains(name.as_str()));
        if let Some(name) = unknown {
            let line = source.lines().position(|line| scan::mentions(line, name)).unwrap_or(0);
            let others: Vec<String> = variables::all().filter(|name| known(name)).collect();
            let near = near::question(name, others.iter().map(String::as_str));
            return Err(TemplateError::new(line, format!("there is no variable {name}{near}")));
        }
        Ok(variables)
    }

    /// Takes in an expression, as a template that makes something where it holds.
    pub(super) fn add_condition(
        &mut self,
        source: &str,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<Template, TemplateError> {
        self.environment.compile_expression(source)?;
        self.add(Form::Text, &format!("{{% if ({source}) %}}1{{% endif %}}"), known)
    }

    /// The library looks for filters and tests only when it comes to them.
    fn check_names(&self, source: &str) -> Result<(), TemplateError> {
        for word in scan::words(source) {
            let (probe, what, others) = match word.role {
                scan::Role::Filter => (format!("none | {}", word.text), "filter", scan::FILTERS),
                scan::Role::Test => (format!("none is {}", word.text), "test", scan::TESTS),
                scan::Role::Tag if word.text == "autoescape" => {
                    let reason = "escaping cannot be turned off";
                    return Err(TemplateError::new(word.line, reason));
                }
                scan::Role::Tag => continue,
            };
            let unknown = match self.environment.compile_expression_owned(probe) {
                Ok(expression) => expression.eval(()).is_err_and(|error| {
                    matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest)
                }),
                Err(_) => true,
            };
            if unknown {
                let near = near::question(word.text, others.iter().copied());
                let reason = format!("there is no {what} {}{near}", word.text);
                return Err(TemplateError::new(word.line, reason));
            }
        }
        Ok(())
    }

    /// Whether the template uses a variable, or something within it.
    pub(super) fn uses(&self, template: &Template, variable: &str) -> bool {
        let is_within = |name: &String| {
            name.strip_prefix(variable).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                || variable.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let found = self.environment.get_template(&template.name);
        found.is_ok_and(|found| found.undeclared_variables(true).iter().any(is_within))
    }

    /// The members of `variable` that any template uses; none where one uses it as a whole.
    pub(super) fn members(&self, variable: &str) -> Option<BTreeSet<String>> {
        let is_whole =
            |name: &String| name == variable || variable.starts_with(&format!("{name}."));
        if self.variables.iter().any(is_whole) {
            return None;
        }
        let member = |name: &String| {
            let rest = name.strip_prefix(variable)?.strip_prefix('.')?;
            Some(rest.split('.').next().unwrap_or(rest).to_owned())
        };
        Some(self.variables.iter().filter_map(member).collect())
    }

    /// Whether the word stands in the template's source, or in the macros that it imports.
    pub(super) fn mentions(&self, template: &Template, word: &str) -> bool {
        let is_in = |name: &str, word: &str| {
            let found = self.environment.get_template(name);
            found.is_ok_and(|found| scan::mentions(found.source(), word))
        };
        let macros = || format!("{MACROS}.{}", template.form.extension());
        is_in(&template.name, word) || is_in(&template.name, MACROS) && is_in(&macros(), word)
    }

    /// The template over `view`. What is to be JSON must be, and is written without the template's own spaces.
    pub(super) fn render(
        &self,
        template: &Template,
        view: &Value,
    ) -> Result<String, TemplateError> {
        let mut output = Bounded(Vec::new());
        let own = json::environment_for(&self.environment, view);
        let environment = own.as_ref().unwrap_or(&self.environment);
        environment.get_template(&template.name)?.render_captured_to(view.clone(), &mut output)?;
        let text = String::from_utf8(output.0)
            .map_err(|_| TemplateError::new(0, "the template makes what is not UTF-8"))?;
        if template.form != Form::Json {
            return Ok(text);
        }
        let json = json::compact(&text).map_err(|error| {
            let line = error.line().saturating_sub(1);
            TemplateError::new(line, format!("the template makes what is not JSON: {error}"))
        })?;
        Ok(format!("{json}\n"))
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: &Template, view: &Value) -> Result<bool, TemplateError> {
        self.render(condition, view).map(|text| !text.is_empty())
    }
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(io::Error::other("the document is too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    fn made(form: Form, source: &str, view: Value) -> Result<String, TemplateError> {
        let mut templates = Templates::default();
        let template = templates.add(form, source, &|name| name == "a" || name == "b")?;
        templates.render(&template, &view)
    }

    #[test]
    fn values_cannot_break_a_json_document() {
        let hostile = "\"}, \"admin\": true, \"x\": \"\u{2028}\\\n</script>";
        let view = context! { a => hostile };
        let text = made(Form::Json, "{\"a\": {{ a }}, \"b\": [{{ a ~ 'x' }}]}", view).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json, serde_json::json!({"a": hostile, "b": [format!("{hostile}x")]}));
        // Where the author has put it between quotes, it is refused rather than trusted.
        assert!(made(Form::Json, "{\"a\": \"{{ a }}\"}", context! { a => "x" }).is_err());
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_line() {
        for (source, line, reason) in [
            ("1\n{{ c }}", 1, "there is no variable c"),
            (
                "{{ a }}\n\n{% if b %}{{ a | nofilter }}{% endif %}",
                2,
                "there is no filter nofilter",
            ),
            ("{{ a is odd and a is nice }}", 0, "there is no test nice"),
            ("{{ a | safe }}", 0, "there is no filter safe"),
            ("1\n{% autoescape false %}{{ a }}{% endautoescape %}", 1, "escaping cannot be"),
            ("1\n{{ a", 1, "syntax error"),
            ("{{ a | time('%q') }}", 0, "may have"),
        ] {
            let view = context! { a => "2026-01-01T00:00:00Z", b => false };
            let error = made(Form::Text, source, view).unwrap_err();
            assert!(error.line == line && error.reason.contains(reason), "{source}: {error:?}");
        }
    }

    #[test]
    fn macros_write_as_the_template_does_that_imports_them() {
        let mut templates = Templates::default();
        templates.add_macros("{% macro said(it) %}{{ it }}{% endmacro %}").unwrap();
        let source = "{% from \"macros\" import said %}{{ said(a) }}";
        for (form, expected) in
            [(Form::Json, "\"<\\\"\"\n"), (Form::Markup, "&lt;&quot;"), (Form::Text, "<\"")]
        {
            let template = templates.add(form, source, &|name| name == "a").unwrap();
            assert_eq!(templates.render(&template, &context! { a => "<\"" }).unwrap(), expected);
            assert!(templates.mentions(&template, "it") && !templates.mentions(&template, "that"));
        }
    }

    #[test]
    fn macros_see_what_they_are_given_only() {
        let source = "{% macro said(it) %}{{ it }}\n{{ a }}{% endmacro %}";
        let error = Templates::default().add_macros(source).unwrap_err();
        assert!(error.line == 1 && error.reason.contains("there is no variable a"), "{error:?}");
    }

    #[test]
    fn work_and_size_are_bounded() {
        let endless =
            "{% for x in range(90000) %}{% for y in range(90000) %}{{ y }}{% endfor %}{% endfor %}";
        assert!(made(Form::Text, endless, context! {}).is_err());
        let view = context! { a => "x".repeat(1 << 20) };
        assert!(made(Form::Text, "{% for x in range(9) %}{{ a }}{% endfor %}", view).is_err());
        let deep = "{% macro b() %}{{ b() }}{% endmacro %}{{ b() }}";
        assert!(made(Form::Text, deep, context! {}).is_err());
    }
}
