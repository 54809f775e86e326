//! The format of a dialect's file: parsed strictly, each refusal with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use toml::Spanned;

use super::answer::Answer;
use super::naming::{self, Naming};
use super::path::{self, Pattern};
use super::template::{Form, Known, Template, Templates};
use super::variables::{Link, Topic};
use super::{
    Action, Dialect, FileError, Limits, MAX_DURATION, Needs, Submission, Target, Trigger, Wait,
    near,
};
use crate::operation::StateName;
use crate::time_text::parse_duration;

mod answers;
mod routes;
mod tables;

use tables::{Body, EventTable, File, LimitsTable, Owner, TriggerTable, WaitTable};

/// The lines of templates and answers in the file, for refusals after rendering.
#[derive(Default)]
pub(super) struct Lines {
    templates: Vec<(Template, usize)>,
    pub(super) submit: usize,
    pub(super) routes: Vec<usize>,
}

impl Lines {
    /// The line in the file of a template's line; both from 0.
    pub(super) fn line(&self, template: &Template, line: usize) -> usize {
        let first = self.templates.iter().find(|(known, _)| known == template);
        first.map_or(0, |(_, first)| *first) + line
    }
}

/// The default duration of `true`: like the service's own waits, below the idle limits of proxies.
const DEFAULT_WAIT: Duration = Duration::from_secs(25);

struct Reader<'a> {
    text: &'a str,
    templates: Templates,
    lines: Lines,
    /// Tables of events that answers share, by name.
    events: Arc<BTreeMap<String, Vec<Spanned<EventTable>>>>,
}

/// Parses a file into a dialect. Renders nothing yet.
pub(super) fn parse(text: &str) -> Result<(Dialect, Lines), FileError> {
    let file: File = FileError::read(text)?;
    let (templates, lines) = (Templates::default(), Lines::default());
    let mut reader = Reader { text, templates, lines, events: Arc::new(file.events) };
    let links = file.route.iter().map(|route| {
        let route = route.as_ref();
        (route.name.as_ref().as_str(), route.path.as_ref().contains("{id}"))
    });
    let links: Vec<Link<'_>> = links.collect();
    let known = |variable: &str| Topic::Operation.check(variable, &links);
    // The name of a state must not depend on itself.
    let has_status =
        |variable: &str| variable == "status" || variable.split('.').next() == Some("operation");
    let known_of_states = |variable: &str| match has_status(variable) {
        true => Err(String::new()),
        false => known(variable),
    };
    let known_of_problems = |variable: &str| Topic::Refusal.check(variable, &links);
    if let Some(macros) = &file.macros {
        reader.macros(macros)?;
    }
    let dialect = Dialect {
        source: text.to_owned(),
        naming: reader.naming(file.id.as_ref())?,
        has_owners: file.owner == Owner::Credentials,
        takes_object: file.body == Body::Object,
        trigger: reader.trigger(file.trigger, file.owner)?,
        limits: reader.limits(file.limits)?,
        wait: reader.wait(file.wait)?,
        states: reader.states(&file.states, &known_of_states)?,
        codes: file.codes,
        submit: Submission::default(),
        routes: Vec::new(),
        problems: reader.answers(&file.problem, &known_of_problems, Kind::Problem)?,
        places: BTreeSet::new(),
        headers: None,
        templates: Templates::default(),
    };
    reader.lines.submit = file.submit.first().map_or(0, |answer| answer.span().start);
    let answers = reader.answers(&file.submit, &known, Kind::Submission)?;
    let needs = reader.needs(Topic::Operation, &answers, &dialect.states);
    let routes = reader.routes(&file.route, &dialect.states, &links)?;
    if answers.is_empty() || routes.is_empty() {
        return Err(FileError::at(text, 0, "there must be a [[submit]] and a [[route]]"));
    }
    let Reader { templates, lines, .. } = reader;
    let submit = Submission { answers, needs };
    let (places, headers) = (templates.places().clone(), shown_headers(&routes, &templates));
    Ok((Dialect { submit, routes, places, headers, templates, ..dialect }, lines))
}

/// The header fields of submissions that templates use; `None` if that cannot be determined.
fn shown_headers(routes: &[super::Route], templates: &Templates) -> Option<BTreeSet<String>> {
    let is_list = |route: &&super::Route| matches!(route.target, Target::List(_));
    let mut listing = routes.iter().filter(is_list).flat_map(|route| &route.answers);
    let in_lists = listing
        .any(|answer| answer.templates().any(|template| templates.mentions(template, "headers")));
    templates.members("request.headers").filter(|_| !in_lists)
}

/// The place of an answer in a file.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Submission,
    /// A route, with its action if it is about an operation.
    Route(Option<Action>),
    Problem,
}

impl Reader<'_> {
    fn wrong<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, FileError> {
        Err(FileError::at(self.text, at, reason))
    }

    fn naming(&self, given: Option<&Spanned<String>>) -> Result<Naming, FileError> {
        let text = given.map_or("uuid", |given| given.as_ref());
        match Naming::parse(text) {
            Some(naming) => Ok(naming),
            None => {
                let at = given.map_or(0, |given| given.span().start);
                self.wrong(at, format!("id must be {}", naming::RULE))
            }
        }
    }

    fn trigger(
        &self,
        table: Option<Spanned<TriggerTable>>,
        owner: Owner,
    ) -> Result<Trigger, FileError> {
        let Some(table) = table else { return Ok(Trigger::default()) };
        let (at, table) = (table.span().start, table.into_inner());
        if table.query.is_some() == table.values.is_empty() {
            return self.wrong(at, "trigger must have query and values, or neither");
        }
        let TriggerTable { always, prefer, query, values, methods, paths, share } = table;
        if share.is_some() && owner != Owner::Credentials {
            return self.wrong(at, "trigger.share is for dialects with owner = \"credentials\"");
        }
        let methods = methods.iter().map(|method| self.method(Some(method)));
        let methods = methods.collect::<Result<_, _>>()?;
        let paths = paths.iter().map(|path| self.pattern("trigger.paths", path));
        let paths = paths.collect::<Result<_, _>>()?;
        let trigger = Trigger { always, prefer, query, values, methods, paths, share };
        if !trigger.is_there() {
            return self.wrong(at, "trigger must have a query, prefer = true, or always = true");
        }
        if always && (prefer || trigger.query.is_some()) {
            return self
                .wrong(at, "trigger.always = true excludes trigger.query and trigger.prefer");
        }
        Ok(trigger)
    }

    fn pattern(&self, key: &str, given: &Spanned<String>) -> Result<Pattern, FileError> {
        match Pattern::parse(given.as_ref()) {
            Some(pattern) => Ok(pattern),
            None => self.wrong(given.span().start, format!("{key} must be {}", path::RULE)),
        }
    }

    fn limits(&self, table: Option<LimitsTable>) -> Result<Limits, FileError> {
        let Some(LimitsTable { capacity, queue_timeout }) = table else {
            return Ok(Limits::default());
        };
        if let Some(capacity) = &capacity
            && *capacity.as_ref() == 0
        {
            return self.wrong(capacity.span().start, "limits.capacity must be at least 1");
        }
        let queue_timeout = queue_timeout.map(|it| self.duration("limits.queue_timeout", &it));
        let capacity = capacity.map(Spanned::into_inner);
        Ok(Limits { capacity, queue_timeout: queue_timeout.transpose()? })
    }

    fn wait(&self, table: Option<Spanned<WaitTable>>) -> Result<Wait, FileError> {
        let Some(table) = table else { return Ok(Wait::default()) };
        let at = table.span().start;
        let WaitTable { parameter, default, prefer } = table.into_inner();
        if parameter.is_none() && !prefer {
            return self.wrong(at, "wait must have a parameter, or prefer = true");
        }
        let default = default.map(|it| self.duration("wait.default", &it)).transpose()?;
        Ok(Wait { parameter, default: default.unwrap_or(DEFAULT_WAIT), prefer })
    }

    fn duration(&self, key: &str, text: &Spanned<String>) -> Result<Duration, FileError> {
        let duration = parse_duration(text.as_ref()).ok();
        match duration.filter(|it| (Duration::from_millis(1)..=MAX_DURATION).contains(it)) {
            Some(duration) => Ok(duration),
            None => {
                let rule = format!("{key} must be a duration such as 30s, of 1ms to ten years");
                self.wrong(text.span().start, rule)
            }
        }
    }

    fn states(
        &mut self,
        table: &Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
        known: Known<'_>,
    ) -> Result<Vec<(StateName, Template)>, FileError> {
        let mut states = Vec::new();
        for (key, name) in table.as_ref() {
            let Some(state) = StateName::parse(key.as_ref()) else {
                let names = StateName::ALL.map(StateName::as_str).join(", ");
                let near = near::question(key.as_ref(), StateName::ALL.map(StateName::as_str));
                let rule =
                    format!("states has no key {}; its keys are {names}{near}", key.as_ref());
                return self.wrong(key.span().start, rule);
            };
            states.push((state, self.template(Form::Text, name, known)?));
        }
        let missing =
            StateName::ALL.into_iter().find(|name| !states.iter().any(|(it, _)| it == name));
        match missing {
            Some(state) => {
                let rule = format!("states must have a name for {state}");
                self.wrong(table.span().start, rule)
            }
            None => Ok(states),
        }
    }

    /// What to read of operations for these answers. The name of a state may use anything as well.
    fn needs(&self, topic: Topic, answers: &[Answer], states: &[(StateName, Template)]) -> Needs {
        let any = |test: &dyn Fn(&Template) -> bool| {
            let own = answers.iter().flat_map(Answer::templates);
            own.chain(states.iter().map(|(_, name)| name)).any(test)
        };
        let uses = |names: &[&str]| {
            any(&|template| names.iter().any(|name| self.templates.uses(template, name)))
        };
        // If a template uses an operation as a whole, the only evidence of what it uses is the word in its text.
        let mentions = |word| any(&|template| self.templates.mentions(template, word));
        let contents = || mentions("json") || mentions("text");
        match topic {
            Topic::Operation => {
                let is_whole = uses(&["operation"]);
                Needs {
                    input: uses(&["request.json", "request.text"])
                        || is_whole && contents() && mentions("request"),
                    result: uses(&["result.json", "result.text"]) || is_whole && contents(),
                    history: uses(&["history"]) || is_whole && mentions("history"),
                }
            }
            Topic::List => {
                let contents = contents();
                Needs { input: contents && mentions("request"), result: contents, history: false }
            }
            Topic::Mount | Topic::Refusal => Needs::default(),
        }
    }

    fn method(&self, given: Option<&Spanned<String>>) -> Result<Method, FileError> {
        let Some(given) = given else { return Ok(Method::GET) };
        match given.as_ref().parse() {
            Ok(
                method
                @ (Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE),
            ) => Ok(method),
            _ => self.wrong(given.span().start, "method must be GET, POST, PUT, PATCH or DELETE"),
        }
    }
}
