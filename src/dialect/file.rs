//! The format of a dialect's file: read strictly, each refusal with its place.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use toml::Spanned;

use super::path::{self, Pattern};
use super::template::{Form, Template, Templates};
use super::{
    Action, Answer, Dialect, FileError, Limits, MAX_DURATION, Naming, Route, Trigger, Wait, near,
    view,
};
use crate::operation::StateName;

mod answers;
mod tables;

use tables::{ActionName, File, Id, LimitsTable, Owner, RouteTable, TriggerTable, WaitTable};

/// Where in the file templates begin, and answers stand: for refusals that come of rendering.
#[derive(Default)]
pub(super) struct Places {
    templates: Vec<(Template, usize)>,
    pub(super) submit: usize,
    pub(super) routes: Vec<usize>,
}

impl Places {
    /// The line in the file of a template's line, both from 0.
    pub(super) fn line(&self, template: &Template, line: usize) -> usize {
        let first = self.templates.iter().find(|(known, _)| known == template);
        first.map_or(0, |(_, first)| *first) + line
    }
}

/// The variables that templates may use.
type Known<'a> = &'a dyn Fn(&str) -> bool;

struct Reader<'a> {
    text: &'a str,
    templates: Templates,
    places: Places,
}

/// The dialect of a file that keeps the format. Nothing has been rendered yet.
pub(super) fn parse(text: &str) -> Result<(Dialect, Places), FileError> {
    let file: File = FileError::read(text)?;
    let mut reader = Reader { text, templates: Templates::default(), places: Places::default() };
    let names: Vec<&str> =
        file.route.iter().map(|route| route.as_ref().name.as_ref().as_str()).collect();
    let known = |variable: &str| view::is_known(variable, &names);
    // The name of a state cannot be made of itself.
    let known_of_states = |variable: &str| variable != "status" && known(variable);
    let dialect = Dialect {
        source: text.to_owned(),
        naming: match file.id {
            Id::Uuid => Naming::Uuid,
            Id::Hex => Naming::Hex,
        },
        has_owners: file.owner == Owner::Credentials,
        trigger: reader.trigger(file.trigger, file.owner)?,
        limits: reader.limits(file.limits)?,
        wait: reader.wait(file.wait)?,
        states: reader.states(&file.states, &known_of_states)?,
        codes: file.codes,
        submit: {
            reader.places.submit = file.submit.first().map_or(0, |answer| answer.span().start);
            reader.answers(&file.submit, &known, Kind::Submission)?
        },
        routes: Vec::new(),
        problems: reader.answers(&file.problem, &view::is_known_of_problems, Kind::Problem)?,
        templates: Templates::default(),
    };
    let routes = reader.routes(&file.route, &dialect.states, &known)?;
    if dialect.submit.is_empty() || routes.is_empty() {
        return Err(FileError::at(text, 0, "there must be a [[submit]] and a [[route]]"));
    }
    Ok((Dialect { routes, templates: reader.templates, ..dialect }, reader.places))
}

/// What answers are for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Submission,
    Route(Action),
    Problem,
}

impl Reader<'_> {
    fn wrong<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, FileError> {
        Err(FileError::at(self.text, at, reason))
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
        if table.query.is_none() && !table.prefer {
            return self.wrong(at, "trigger must have a query, or prefer = true");
        }
        if table.share.is_some() && owner != Owner::Credentials {
            return self.wrong(at, "trigger.share is for dialects with owner = \"credentials\"");
        }
        let TriggerTable { prefer, query, values, share } = table;
        Ok(Trigger { prefer, query, values, share })
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

    fn wait(&self, table: Option<WaitTable>) -> Result<Option<Wait>, FileError> {
        let Some(WaitTable { parameter, default }) = table else { return Ok(None) };
        let default = default.map(|it| self.duration("wait.default", &it)).transpose()?;
        Ok(Some(Wait { parameter, default: default.unwrap_or(Duration::from_secs(60)) }))
    }

    fn duration(&self, key: &str, text: &Spanned<String>) -> Result<Duration, FileError> {
        let duration = humantime::parse_duration(text.as_ref()).ok();
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

    fn routes(
        &mut self,
        tables: &[Spanned<RouteTable>],
        states: &[(StateName, Template)],
        known: Known<'_>,
    ) -> Result<Vec<Route>, FileError> {
        let mut routes: Vec<Route> = Vec::new();
        for table in tables {
            let at = table.span().start;
            let table = table.as_ref();
            self.places.routes.push(at);
            let name = table.name.as_ref();
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            let is_name = !name.is_empty() && name.bytes().all(plain);
            if !is_name || name == "self" || name == "base" {
                let rule = "name must be lower-case letters and '_', and neither self nor base";
                return self.wrong(table.name.span().start, rule);
            }
            let method = self.method(table.method.as_ref())?;
            let action = match table.action {
                ActionName::Read => Action::Read,
                ActionName::Cancel => Action::Cancel,
                ActionName::Delete => Action::Delete,
            };
            if method == Method::GET && action != Action::Read {
                return self.wrong(at, "a route with an action must have a method other than GET");
            }
            let path = Pattern::parse(table.path.as_ref());
            let is_fit = |path: &Pattern| path.has("id") && path.places() == 1;
            let Some(path) = path.filter(is_fit) else {
                let rule = format!("path must be {}, and have {{id}} once", path::RULE);
                return self.wrong(table.path.span().start, rule);
            };
            for earlier in &routes {
                let reason = match () {
                    () if earlier.name == *name => format!("the name {name} is given twice"),
                    () if earlier.method == method && earlier.path.meets(&path) => {
                        format!("{method} {path} is also the route {}", earlier.name)
                    }
                    () => continue,
                };
                return self.wrong(at, reason);
            }
            let answers = self.answers(&table.answer, known, Kind::Route(action))?;
            // The name of a state may be made of anything as well.
            let uses = |variable: &str| {
                let own = answers.iter().flat_map(Answer::templates);
                let mut all = own.chain(states.iter().map(|(_, name)| name));
                all.any(|template| self.templates.uses(template, variable))
            };
            let (needs_result, needs_history) =
                (uses("result.json") || uses("result.text"), uses("history"));
            let name = name.clone();
            routes.push(Route { name, method, path, action, needs_result, needs_history, answers });
        }
        Ok(routes)
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
