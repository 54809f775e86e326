//! The format of a dialect's file: read strictly, each refusal with its place.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, Method};
use serde::Deserialize;
use toml::Spanned;

use super::path::{self, Pattern};
use super::template::{Form, Template, TemplateError, Templates};
use super::{
    Action, Answer, Content, Dialect, FileError, Limits, MAX_DURATION, Naming, Route, Trigger,
    Wait, view,
};
use crate::operation::StateName;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    id: Id,
    #[serde(default)]
    owner: Owner,
    trigger: Option<Spanned<TriggerTable>>,
    limits: Option<LimitsTable>,
    wait: Option<WaitTable>,
    states: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
    #[serde(default)]
    codes: BTreeMap<String, String>,
    submit: Vec<Spanned<AnswerTable>>,
    route: Vec<Spanned<RouteTable>>,
    #[serde(default)]
    problem: Vec<Spanned<AnswerTable>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Id {
    #[default]
    Uuid,
    Hex,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Owner {
    #[default]
    Nobody,
    Credentials,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerTable {
    #[serde(default)]
    prefer: bool,
    query: Option<String>,
    #[serde(default)]
    values: Vec<String>,
    share: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    capacity: Option<Spanned<u64>>,
    queue_timeout: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitTable {
    parameter: String,
    default: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    name: Spanned<String>,
    method: Option<Spanned<String>>,
    path: Spanned<String>,
    #[serde(default)]
    action: ActionName,
    answer: Vec<Spanned<AnswerTable>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionName {
    #[default]
    Read,
    Cancel,
    Delete,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerTable {
    when: Option<Spanned<String>>,
    status: Option<Spanned<u16>>,
    #[serde(default)]
    headers: BTreeMap<Spanned<String>, Spanned<String>>,
    content_type: Option<Spanned<String>>,
    body: Option<Spanned<String>>,
    #[serde(default)]
    replay: bool,
}

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
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        FileError::at(text, at, error.message())
    })?;
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
                let rule = format!("states has no key {}; its keys are {names}", key.as_ref());
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

    fn answers(
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
                && table.body.is_none();
            if !is_alone || kind != Kind::Route(Action::Read) {
                let rule = "replay is for routes that read, and stands beside nothing but when";
                return self.wrong(at, rule);
            }
            return Ok(Answer { when, content: Content::Replay });
        }
        if table.status.is_none() && kind != Kind::Problem {
            return self.wrong(at, "an answer must have a status, or replay = true");
        }
        if let Some(status) = &table.status
            && !(200..=599).contains(status.as_ref())
        {
            return self.wrong(status.span().start, "status must be from 200 to 599");
        }
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
        let status = table.status.as_ref().map(|status| *status.as_ref());
        Ok(Answer { when, content: Content::Document { status, headers, body } })
    }

    fn header(&self, name: &Spanned<String>) -> Result<HeaderName, FileError> {
        // What frames a message is not a document's to say.
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

    fn template(
        &mut self,
        form: Form,
        source: &Spanned<String>,
        known: Known<'_>,
    ) -> Result<Template, FileError> {
        let made = self.templates.add(form, source.as_ref(), known);
        self.placed(source, made)
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
        let first = self.first_line(source);
        match made {
            Ok(template) => {
                self.places.templates.push((template.clone(), first));
                Ok(template)
            }
            Err(TemplateError { line, reason }) => {
                Err(FileError { line: first + line + 1, column: None, reason })
            }
        }
    }

    /// The line, from 0, on which a string's own first line stands.
    fn first_line(&self, string: &Spanned<String>) -> usize {
        let span = string.span();
        let written = self.text.get(span.clone()).unwrap_or_default();
        let begins_below = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"]
            .iter()
            .any(|opening| written.starts_with(opening));
        FileError::at(self.text, span.start, "").line - 1 + usize::from(begins_below)
    }
}

impl Answer {
    /// Its templates.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        let (headers, body) = match &self.content {
            Content::Document { headers, body, .. } => (headers.as_slice(), body.as_ref()),
            Content::Replay => (&[][..], None),
        };
        let headers = headers.iter().map(|(_, value)| value);
        self.when.iter().chain(headers).chain(body.map(|(_, text)| text))
    }
}
