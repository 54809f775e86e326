//! Templates: compiled once, checked, and rendered within limits.
//!
//! Every value in a JSON document is escaped as JSON (`json`), whatever its source, and the whole output must be JSON.

use std::collections::BTreeSet;
use std::io;

use minijinja::{Environment, ErrorKind, Value};

use super::{json, near, scan, vocabulary};

mod environment;
#[cfg(test)]
mod tests;

use environment::MACROS;

/// The maximum output of one template, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// The form of a template's output, which decides how values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON: every value is written as JSON.
    Json,
    /// HTML and XML.
    Markup,
    /// Anything else: values are not escaped.
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

    /// The extension in the names of its templates, by which the library chooses the escaping.
    fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Markup => "html",
            Self::Text => "txt",
        }
    }
}

/// The variables that templates may use: those for which it returns `Ok`. The error names the one that was probably
/// meant, `; did you mean …?`, or is empty.
pub(super) type Known<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// A template of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    name: String,
    form: Form,
}

/// An error in a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TemplateError {
    /// The line within the template, from 0, if known.
    pub line: usize,
    /// The error.
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
            // In this program's own words.
            Some(detail) if error.kind() == ErrorKind::UndefinedError => detail.to_owned(),
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
    /// All variables that they use, with full paths.
    variables: BTreeSet<String>,
    /// The macros that can be imported, if any.
    macros: Option<BTreeSet<String>>,
    /// The names of placeholders that they use, including those in macros.
    places: BTreeSet<String>,
}

impl Default for Templates {
    fn default() -> Self {
        let (variables, places) = (BTreeSet::new(), BTreeSet::new());
        Self { environment: environment::new(), count: 0, variables, macros: None, places }
    }
}

impl Templates {
    /// Adds a template that uses only variables in `known`.
    pub(super) fn add(
        &mut self,
        form: Form,
        source: &str,
        known: Known<'_>,
    ) -> Result<Template, TemplateError> {
        let name = format!("{}.{}", self.count, form.extension());
        self.count += 1;
        let variables = self.add_named(&name, source, known)?;
        self.variables.extend(variables);
        Ok(Template { name, form })
    }

    /// Adds macros, for templates of every form to import. They see only their arguments.
    pub(super) fn add_macros(&mut self, source: &str) -> Result<(), TemplateError> {
        let none = |_: &str| Err(String::new());
        for form in [Form::Json, Form::Markup, Form::Text] {
            self.add_named(&format!("{MACROS}.{}", form.extension()), source, &none)?;
        }
        self.macros = Some(scan::exports(source).into_iter().map(str::to_owned).collect());
        Ok(())
    }

    /// Adds a template under this name, and returns the variables that it uses.
    fn add_named(
        &mut self,
        name: &str,
        source: &str,
        known: Known<'_>,
    ) -> Result<BTreeSet<String>, TemplateError> {
        self.check_names(source)?;
        self.environment.add_template_owned(name.to_owned(), source.to_owned())?;
        let template = self.environment.get_template(name)?;
        let globals: BTreeSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let variables: BTreeSet<String> = template.undeclared_variables(true).into_iter().collect();
        for variable in variables.iter().filter(|name| !globals.contains(name.as_str())) {
            if let Err(question) = known(variable) {
                let near = match question.is_empty() {
                    true => near::question(variable, globals.iter().copied()),
                    false => question,
                };
                let line = source.lines().position(|line| scan::mentions(line, variable));
                let reason = format!("there is no variable {variable}{near}");
                return Err(TemplateError::new(line.unwrap_or(0), reason));
            }
        }
        self.places.extend(scan::members(source, "places").into_iter().map(str::to_owned));
        Ok(variables)
    }

    /// Adds an expression, as a template whose output is not empty if it holds.
    pub(super) fn add_condition(
        &mut self,
        source: &str,
        known: Known<'_>,
    ) -> Result<Template, TemplateError> {
        self.environment.compile_expression(source)?;
        self.add(Form::Text, &format!("{{% if ({source}) %}}1{{% endif %}}"), known)
    }

    /// The library looks names up only when it renders them.
    fn check_names(&self, source: &str) -> Result<(), TemplateError> {
        for word in scan::words(source) {
            let scan::Word { text, role, line } = word;
            if text == "autoescape" && role == scan::Role::Tag {
                return Err(TemplateError::new(line, "escaping cannot be turned off"));
            }
            let macros = || self.macros.iter().flatten().map(String::as_str);
            let (what, is_known, near) = match role {
                scan::Role::Filter => {
                    let near = near::question(text, vocabulary::FILTERS.iter().copied());
                    ("filter", self.has(&format!("none | {text}")), near)
                }
                scan::Role::Test => {
                    let near = near::question(text, vocabulary::TESTS.iter().copied());
                    ("test", self.has(&format!("none is {text}")), near)
                }
                scan::Role::Tag => {
                    let near = near::question(text, vocabulary::TAGS.iter().copied());
                    ("tag", vocabulary::TAGS.contains(&text), near)
                }
                scan::Role::Template => {
                    let is_known = self.macros.is_some() && text == MACROS;
                    (
                        "template",
                        is_known,
                        near::question(text, self.macros.as_ref().map(|_| MACROS)),
                    )
                }
                scan::Role::Import => {
                    ("macro", macros().any(|name| name == text), near::question(text, macros()))
                }
            };
            if role == scan::Role::Template && text.is_empty() {
                let reason = "the name of a template must stand between quotes";
                return Err(TemplateError::new(line, reason));
            }
            if !is_known {
                return Err(TemplateError::new(line, format!("there is no {what} {text}{near}")));
            }
        }
        Ok(())
    }

    /// Whether the filter or the test in this expression exists.
    fn has(&self, expression: &str) -> bool {
        match self.environment.compile_expression(expression) {
            Ok(expression) => !expression.eval(()).is_err_and(|error| {
                matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest)
            }),
            Err(_) => false,
        }
    }

    /// Whether the template uses a variable or one of its members.
    pub(super) fn uses(&self, template: &Template, variable: &str) -> bool {
        let is_within = |name: &String| {
            name.strip_prefix(variable).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                || variable.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let found = self.environment.get_template(&template.name);
        found.is_ok_and(|found| found.undeclared_variables(true).iter().any(is_within))
    }

    /// The members of `variable` that any template uses; `None` if one uses it as a whole.
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

    /// The names of placeholders that any template uses.
    pub(super) fn places(&self) -> &BTreeSet<String> {
        &self.places
    }

    /// Whether the word occurs in the template's source, or in the macros that it imports.
    pub(super) fn mentions(&self, template: &Template, word: &str) -> bool {
        let is_in = |name: &str, word: &str| {
            let found = self.environment.get_template(name);
            found.is_ok_and(|found| scan::mentions(found.source(), word))
        };
        let macros = || format!("{MACROS}.{}", template.form.extension());
        is_in(&template.name, word) || is_in(&template.name, MACROS) && is_in(&macros(), word)
    }

    /// Renders the template over `view`. A JSON document must be JSON, and loses the template's own spaces.
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
            .map_err(|_| TemplateError::new(0, "the template's output is not UTF-8"))?;
        if template.form != Form::Json {
            return Ok(text);
        }
        let json = json::compact(&text).map_err(|error| {
            let line = error.line().saturating_sub(1);
            TemplateError::new(line, format!("the template's output is not JSON: {error}"))
        })?;
        Ok(format!("{json}\n"))
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: &Template, view: &Value) -> Result<bool, TemplateError> {
        self.render(condition, view).map(|text| !text.is_empty())
    }
}

/// A writer with a limit in bytes.
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
