//! Handlers, which execute the operations of a kind: `[[handler]]` tables of the configuration file, or flags.
//!
//! A handler is a command, or an HTTP endpoint.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use super::relay::to_duration;
use crate::dialect::FileError;
use crate::operation::Kind;
use crate::worker::command::RetryOn;

/// What executes the operations of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    /// The kind.
    pub kind: String,
    /// A command or an endpoint.
    pub work: Work,
    /// How many attempts run at once, from 1 to 10,000; without it, it shares with all others that have none.
    pub concurrency: Option<u16>,
}

/// What is done for each attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A program is run.
    Command(CommandLine),
    /// A request is sent.
    Endpoint(Box<Endpoint>),
}

/// A program, and what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub words: Words,
    /// Environment variables that it gets too.
    pub variables: Vec<String>,
    /// Exit codes that ask for another attempt.
    pub retry_on: Option<RetryOn>,
}

/// How a program is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// A line for `/bin/sh`.
    Shell(String),
    /// A program and its arguments, as they are; at least one word.
    Program(Vec<OsString>),
}

/// A URL that attempts are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL.
    pub url: EndpointUrl,
    /// A file of certificates (PEM) that alone are trusted to vouch for an `https` URL; by default the system's are.
    pub ca_file: Option<PathBuf>,
    /// Header fields that every request has.
    pub headers: Vec<(HeaderName, FieldValue)>,
    /// To connect; 5 s by default.
    pub connect_timeout: Duration,
    /// For the whole answer; 10 min by default.
    pub attempt_timeout: Duration,
}

/// An `http` or `https` URL without a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// Path and query.
    pub target: PathAndQuery,
}

/// Where the value of a header field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// Here.
    Text(HeaderValue),
    /// In a file, which is read for each attempt.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

impl Handler {
    /// A handler that shares its concurrency. `text` is `KIND=…`, as flags have it; `work` reads what is behind the sign.
    pub fn of_flag(
        text: &str,
        work: impl FnOnce(&str) -> Result<Work, String>,
    ) -> Result<Self, String> {
        let (kind, rest) = text.split_once('=').ok_or("must have a kind and `=` before it")?;
        Kind::parse(kind).map_err(|error| format!("the kind {error}"))?;
        Ok(Self { kind: kind.to_owned(), work: work(rest)?, concurrency: None })
    }
}

impl CommandLine {
    /// Runs a program that gets nothing beyond what all get.
    pub fn new(words: Words) -> Self {
        Self { words, variables: Vec::new(), retry_on: None }
    }
}

impl Endpoint {
    /// Posts to `url`, with the defaults of everything else.
    pub fn new(url: EndpointUrl) -> Self {
        Self {
            url,
            ca_file: None,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(600),
        }
    }
}

impl FromStr for EndpointUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Not repeated: it may have a password.
        let wrong =
            || "must be a URL such as https://jobs.example.com/render, without a user".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'));
        match (scheme, authority, parts.path_and_query) {
            (Some(scheme), Some(authority), Some(target)) => Ok(Self { scheme, authority, target }),
            _ => Err(wrong()),
        }
    }
}

/// Without the query, which may have a key in it.
impl std::fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.target.path())
    }
}

/// A `[[handler]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(deserialize_with = "kind")]
    kind: String,
    #[serde(default, deserialize_with = "words")]
    command: Option<Words>,
    #[serde(default, deserialize_with = "url")]
    url: Option<EndpointUrl>,
    #[serde(default, deserialize_with = "concurrency")]
    concurrency: Option<u16>,
    env: Option<Vec<String>>,
    #[serde(default, deserialize_with = "retry_on")]
    retry_on: Option<RetryOn>,
    ca_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "headers")]
    headers: Option<Vec<(HeaderName, FieldValue)>>,
    #[serde(default, deserialize_with = "duration")]
    connect_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    attempt_timeout: Option<Duration>,
}

impl Table {
    fn handler(self) -> Result<Handler, String> {
        let misplaced = |keys: &[(&str, bool)], of: &str| {
            let given = keys.iter().find(|(_, is_given)| *is_given);
            given.map_or(Ok(()), |(key, _)| Err(format!("{key} is for a handler with {of}")))
        };
        let of_commands = [("env", self.env.is_some()), ("retry_on", self.retry_on.is_some())];
        let of_urls = [
            ("ca_file", self.ca_file.is_some()),
            ("headers", self.headers.is_some()),
            ("connect_timeout", self.connect_timeout.is_some()),
            ("attempt_timeout", self.attempt_timeout.is_some()),
        ];
        let work = match (self.command, self.url) {
            (Some(words), None) => {
                misplaced(&of_urls, "a url")?;
                let (variables, retry_on) = (self.env.unwrap_or_default(), self.retry_on);
                Work::Command(CommandLine { words, variables, retry_on })
            }
            (None, Some(url)) => {
                misplaced(&of_commands, "a command")?;
                let plain = Endpoint::new(url);
                Work::Endpoint(Box::new(Endpoint {
                    ca_file: self.ca_file,
                    headers: self.headers.unwrap_or_default(),
                    connect_timeout: self.connect_timeout.unwrap_or(plain.connect_timeout),
                    attempt_timeout: self.attempt_timeout.unwrap_or(plain.attempt_timeout),
                    ..plain
                }))
            }
            (Some(_), Some(_)) => {
                return Err("a handler has a command or a url, not both".to_owned());
            }
            (None, None) => return Err("a handler must have a command or a url".to_owned()),
        };
        Ok(Handler { kind: self.kind, work, concurrency: self.concurrency })
    }
}

/// The handlers of all tables, one for a kind.
pub(super) fn handlers(text: &str, tables: Vec<Spanned<Table>>) -> Result<Vec<Handler>, FileError> {
    let (mut kinds, mut handlers) = (HashSet::new(), Vec::new());
    for spanned in tables {
        let at = spanned.span().start;
        let handler = spanned.into_inner().handler();
        let handler = handler.map_err(|reason| FileError::at(text, at, reason))?;
        if !kinds.insert(handler.kind.clone()) {
            let reason = format!("there is another handler of the kind {}", handler.kind);
            return Err(FileError::at(text, at, reason));
        }
        handlers.push(handler);
    }
    Ok(handlers)
}

fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    Kind::parse(&text).map_err(|rule| D::Error::custom(format!("kind {rule}")))?;
    Ok(text)
}

fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Words>, D::Error> {
    let rule = "command must be a line for the shell, or a list of a program and its arguments";
    let word = |value: toml::Value| match value {
        toml::Value::String(text) => Some(OsString::from(text)),
        _ => None,
    };
    let words = match toml::Value::deserialize(from)? {
        toml::Value::String(line) => (!line.trim().is_empty()).then_some(Words::Shell(line)),
        toml::Value::Array(words) => {
            let words: Option<Vec<OsString>> = words.into_iter().map(word).collect();
            let is_named = |words: &Vec<OsString>| words.first().is_some_and(|it| !it.is_empty());
            words.filter(is_named).map(Words::Program)
        }
        _ => None,
    };
    words.map(Some).ok_or_else(|| D::Error::custom(rule))
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<EndpointUrl>, D::Error> {
    let url = String::deserialize(from)?.parse();
    url.map(Some).map_err(|rule: String| D::Error::custom(format!("url {rule}")))
}

fn concurrency<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    match i64::deserialize(from)? {
        number @ 1..=10_000 => Ok(u16::try_from(number).ok()),
        _ => Err(D::Error::custom("concurrency must be from 1 to 10,000")),
    }
}

fn retry_on<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RetryOn>, D::Error> {
    let retry_on = String::deserialize(from)?.parse();
    retry_on.map(Some).map_err(|rule: String| D::Error::custom(format!("retry_on {rule}")))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    to_duration(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

/// Fields that describe the body or the connection, or that say which attempt it is, are this server's.
fn is_own(name: &HeaderName) -> bool {
    const OWN: [&str; 5] =
        ["connection", "content-length", "content-type", "host", "transfer-encoding"];
    OWN.contains(&name.as_str()) || name.as_str().starts_with("longrun-")
}

fn headers<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<(HeaderName, FieldValue)>>, D::Error> {
    let given = BTreeMap::<String, toml::Value>::deserialize(from)?;
    let field = |(name, value): (String, toml::Value)| {
        let known = HeaderName::try_from(name.as_str()).ok().filter(|name| !is_own(name));
        let known = known.ok_or_else(|| format!("{name} is not a header field that can be set"))?;
        Ok((known, field_value(value).map_err(|rule| format!("{name} {rule}"))?))
    };
    let fields: Result<_, String> = given.into_iter().map(field).collect();
    fields.map(Some).map_err(D::Error::custom)
}

fn field_value(value: toml::Value) -> Result<FieldValue, String> {
    let rule = "must be a text, { file = \"PATH\" } or { env = \"NAME\" }";
    match value {
        toml::Value::String(text) => {
            let value = HeaderValue::try_from(text)
                .map_err(|_| "cannot be sent: it has a control character")?;
            Ok(FieldValue::Text(value))
        }
        toml::Value::Table(table) if table.len() == 1 => {
            let of = |key| table.get(key).and_then(toml::Value::as_str);
            match (of("file"), of("env")) {
                (Some(path), _) => Ok(FieldValue::File(path.into())),
                (_, Some(name)) => Ok(FieldValue::Variable(name.to_owned())),
                _ => Err(rule.to_owned()),
            }
        }
        _ => Err(rule.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Handler>, FileError> {
        let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        super::super::file::parse(text, &no_files).map(|config| config.handlers)
    }

    #[test]
    fn commands_and_endpoints_are_read() {
        let text = "[[handler]]\nkind = 'a'\ncommand = 'make all'\nconcurrency = 2\nretry_on = 'all'\n\
                    [[handler]]\nkind = 'b'\ncommand = ['make', '-k']\nenv = ['CC']\n\
                    [[handler]]\nkind = 'c'\nurl = 'https://h/p?q=1'\nattempt_timeout = '1h'\n\
                    headers = { x-a = '1', authorization = { file = 'token' } }\n";
        let handlers = read(text).expect("handlers");
        assert_eq!(handlers[0].concurrency, Some(2));
        let Work::Command(command) = &handlers[1].work else { panic!("{handlers:?}") };
        assert_eq!(command.words, Words::Program(vec!["make".into(), "-k".into()]));
        let Work::Endpoint(endpoint) = &handlers[2].work else { panic!("{handlers:?}") };
        assert_eq!(endpoint.url.to_string(), "https://h/p");
        assert_eq!(endpoint.url.target, "/p?q=1");
        assert_eq!(endpoint.attempt_timeout, Duration::from_secs(3600));
        assert_eq!(endpoint.headers[0].1, FieldValue::File("token".into()));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (keys, reason) in [
            ("kind = 'a'", "a handler must have a command or a url"),
            ("kind = 'a'\nurl = 'http://h'\ncommand = 'x'", "not both"),
            ("kind = 'a b'\ncommand = 'x'", "line 2, column 8: kind "),
            ("kind = 'a'\ncommand = ''", "line 3, column 11: command must be"),
            ("kind = 'a'\nurl = 'http://u:p@h/'", "url must be a URL"),
            ("kind = 'a'\nurl = 'http://h'\nenv = ['X']", "env is for a handler with a command"),
            ("kind = 'a'\ncommand = 'x'\nconcurency = 1", "did you mean concurrency?"),
            ("kind = 'a'\ncommand = 'x'\nconcurrency = 0", "from 1 to 10,000"),
            ("kind = 'a'\ncommand = 'x'\nretry_on = '0'", "retry_on must be"),
            ("kind = 'a'\nurl = 'http://h'\nheaders = { host = 'x' }", "host is not a header"),
            ("kind = 'a'\ncommand = 'x'\n[[handler]]\nkind = 'a'\ncommand = 'y'", "line 4"),
        ] {
            let error = read(&format!("[[handler]]\n{keys}\n")).expect_err(keys).to_string();
            assert!(error.contains(reason), "{keys}: {error}");
        }
    }
}
