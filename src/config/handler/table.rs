//! `[[handler]]` tables of the configuration file.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use super::super::confinement::{Limit, OwnConfinement, User};
use super::super::relay::{self, ranged};
use super::{
    CommandLine, Endpoint, EndpointUrl, FieldValue, Handler, Words, Work, handled_kind, variable,
};
use crate::dialect::FileError;
use crate::worker::command::RetryOn;

/// A `[[handler]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Table {
    #[serde(deserialize_with = "kind")]
    kind: String,
    #[serde(default, deserialize_with = "words")]
    command: Option<Words>,
    #[serde(default, deserialize_with = "url")]
    url: Option<EndpointUrl>,
    #[serde(default, deserialize_with = "concurrency")]
    concurrency: Option<u16>,
    #[serde(default, deserialize_with = "variables")]
    env: Option<Vec<String>>,
    #[serde(default, deserialize_with = "retry_on")]
    retry_on: Option<RetryOn>,
    #[serde(default, deserialize_with = "limits")]
    limit: Option<Vec<Limit>>,
    #[serde(default, deserialize_with = "user")]
    user: Option<User>,
    own_directory: Option<bool>,
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
        let misplaced = |keys: &[(&str, bool)], of: &str, example: &str| {
            let given = keys.iter().find(|(_, is_given)| *is_given);
            given.map_or(Ok(()), |(key, _)| {
                Err(format!("{key} is for a handler with {of}, e.g. {example}"))
            })
        };
        let of_commands = [
            ("env", self.env.is_some()),
            ("retry_on", self.retry_on.is_some()),
            ("limit", self.limit.is_some()),
            ("user", self.user.is_some()),
            ("own_directory", self.own_directory.is_some()),
        ];
        let of_urls = [
            ("ca_file", self.ca_file.is_some()),
            ("headers", self.headers.is_some()),
            ("connect_timeout", self.connect_timeout.is_some()),
            ("attempt_timeout", self.attempt_timeout.is_some()),
        ];
        let work = match (self.command, self.url) {
            (Some(words), None) => {
                misplaced(&of_urls, "a url", "url = 'https://jobs.example.com/render'")?;
                let (variables, retry_on) = (self.env.unwrap_or_default(), self.retry_on);
                let confinement = OwnConfinement {
                    limits: self.limit.unwrap_or_default(),
                    user: self.user,
                    own_directory: self.own_directory,
                };
                Work::Command(CommandLine { words, variables, retry_on, confinement })
            }
            (None, Some(url)) => {
                misplaced(&of_commands, "a command", "command = 'tr a-z A-Z'")?;
                if self.ca_file.is_some() && url.scheme != Scheme::HTTPS {
                    return Err("ca_file is for a url that is https://, e.g. url = 'https://jobs.example.com/render'"
                        .to_owned());
                }
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
                return Err(
                    "a handler must have a command or a url, not both: omit one of them, e.g. url"
                        .to_owned(),
                );
            }
            (None, None) => {
                return Err("a handler must have a command or a url, e.g. command = 'tr a-z A-Z'"
                    .to_owned());
            }
        };
        Ok(Handler { kind: self.kind, work, concurrency: self.concurrency })
    }
}

/// The handlers of all tables, at most one per kind.
pub(in crate::config) fn handlers(
    text: &str,
    tables: Vec<Spanned<Table>>,
) -> Result<Vec<Handler>, FileError> {
    let (mut kinds, mut handlers) = (HashSet::new(), Vec::new());
    for spanned in tables {
        let at = spanned.span().start;
        let handler = spanned.into_inner().handler();
        let handler = handler.map_err(|reason| FileError::at(text, at, reason))?;
        if !kinds.insert(handler.kind.clone()) {
            let reason = format!(
                "there is another handler of the kind {}: give each its own, e.g. {0}.large",
                handler.kind
            );
            return Err(FileError::at(text, at, reason));
        }
        handlers.push(handler);
    }
    Ok(handlers)
}

fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    handled_kind(&text)
        .map_err(|rule| D::Error::custom(format!("kind {rule}, e.g. report.build")))?;
    Ok(text)
}

fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Words>, D::Error> {
    let rule = "command must be a line for the shell, or a list of a program and its arguments, e.g. ['tr', 'a-z', 'A-Z']";
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
    let rule = "concurrency must be a whole number from 1 to 10,000, e.g. 4";
    ranged(from, 1..=10_000, rule).map(Some)
}

fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let names = names.iter().map(|name| variable(name));
    let names = names.collect::<Result<_, String>>();
    names.map(Some).map_err(|rule| D::Error::custom(format!("env {rule}")))
}

fn retry_on<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RetryOn>, D::Error> {
    let retry_on = String::deserialize(from)?.parse();
    retry_on.map(Some).map_err(|rule: String| D::Error::custom(format!("retry_on {rule}")))
}

fn limits<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Limit>>, D::Error> {
    let given = Vec::<String>::deserialize(from).map_err(|_| {
        D::Error::custom("limit must be a list, e.g. [\"cpu=10s\", \"memory=1GiB\"]")
    })?;
    let limits = given
        .iter()
        .map(|text| text.parse().map_err(|rule| D::Error::custom(format!("limit {text}: {rule}"))));
    limits.collect::<Result<_, _>>().map(Some)
}

fn user<'de, D: Deserializer<'de>>(from: D) -> Result<Option<User>, D::Error> {
    let user = String::deserialize(from)?.parse();
    user.map(Some).map_err(|rule: String| D::Error::custom(format!("user {rule}")))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    relay::duration(from).map(Some)
}

/// Only this server sets fields that describe the body, the connection or the attempt.
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
        let known = known.ok_or_else(|| {
            format!("{name} must be the name of a header field that may be set, e.g. authorization")
        })?;
        Ok((known, field_value(value).map_err(|rule| format!("{name} {rule}"))?))
    };
    let fields: Result<_, String> = given.into_iter().map(field).collect();
    fields.map(Some).map_err(D::Error::custom)
}

fn field_value(value: toml::Value) -> Result<FieldValue, String> {
    let rule =
        "must be a text, { file = \"PATH\" } or { env = \"NAME\" }, e.g. { file = \"token\" }";
    match value {
        toml::Value::String(text) => {
            let value = HeaderValue::try_from(text)
                .map_err(|_| "must have no control characters, e.g. 'Bearer abc'")?;
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
        super::super::super::file::parse(text, &no_files).map(|config| config.handlers)
    }

    #[test]
    fn commands_and_endpoints_are_read() {
        let text = "[[handler]]\nkind = 'a'\ncommand = 'make all'\nconcurrency = 2\nretry_on = 'all'\n\
                    [[handler]]\nkind = 'b'\ncommand = ['make', '-k']\nenv = ['CC']\n\
                    limit = ['cpu=1s', 'memory=1GiB']\nuser = '12:34'\nown_directory = true\n\
                    [[handler]]\nkind = 'c'\nurl = 'https://h/p?q=1'\nattempt_timeout = '1h'\n\
                    connect_timeout = 7\nheaders = { x-a = '1', authorization = { file = 'token' } }\n";
        let handlers = read(text).expect("handlers");
        assert_eq!(handlers[0].concurrency, Some(2));
        let Work::Command(command) = &handlers[1].work else { panic!("{handlers:?}") };
        assert_eq!(command.words, Words::Program(vec!["make".into(), "-k".into()]));
        let confinement = &command.confinement;
        assert_eq!(confinement.limits, ["cpu=1s", "memory=1GiB"].map(|text| text.parse().unwrap()));
        assert_eq!(
            (confinement.user, confinement.own_directory),
            ("12:34".parse().ok(), Some(true))
        );
        let Work::Endpoint(endpoint) = &handlers[2].work else { panic!("{handlers:?}") };
        assert_eq!(endpoint.url.to_string(), "https://h/p");
        assert_eq!(endpoint.url.target, "/p?q=1");
        assert_eq!(endpoint.attempt_timeout, Duration::from_secs(3600));
        assert_eq!(endpoint.connect_timeout, Duration::from_secs(7));
        assert_eq!(endpoint.headers[0].1, FieldValue::File("token".into()));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (keys, reason) in [
            ("kind = 'a'", "a handler must have a command or a url, e.g. command = 'tr a-z A-Z'"),
            ("kind = 'a'\nurl = 'http://h'\ncommand = 'x'", "not both"),
            ("kind = 'a b'\ncommand = 'x'", "line 2, column 8: kind "),
            ("kind = 'a'\ncommand = ''", "line 3, column 11: command must be"),
            ("kind = 'a'\nurl = 'http://u:p@h/'", "url must be a URL"),
            ("kind = 'a'\nurl = 'http://h'\nenv = ['X']", "env is for a handler with a command"),
            ("kind = 'a'\ncommand = 'x'\nconcurency = 1", "did you mean concurrency?"),
            ("kind = 'a'\ncommand = 'x'\nconcurrency = 0", "from 1 to 10,000"),
            ("kind = 'a'\ncommand = 'x'\nconcurrency = 70000", "from 1 to 10,000"),
            ("kind = 'a'\ncommand = 'x'\nenv = ['A=B']", "env must be the NAME of a variable"),
            ("kind = 'a'\nurl = 'http://h'\nattempt_timeout = 0", "from 1ms to ten years"),
            ("kind = 'a'\nurl = 'http://h'\nattempt_timeout = true", "must be a duration"),
            ("kind = 'a'\ncommand = 'x'\nretry_on = '0'", "retry_on must be"),
            (
                "kind = 'a'\nurl = 'http://h'\nca_file = 'ca.pem'",
                "ca_file is for a url that is https",
            ),
            ("kind = 'a'\nurl = 'http://h'\nuser = 'root'", "user is for a handler with a command"),
            ("kind = 'a'\ncommand = 'x'\nlimit = 'cpu=1s'", "limit must be a list, e.g. "),
            ("kind = 'a'\ncommand = 'x'\nlimit = ['cpu=0']", "limit cpu=0: "),
            ("kind = 'a'\ncommand = 'x'\nuser = 'no:body'", "user must be a name"),
            (
                "kind = 'a'\nurl = 'http://h'\nheaders = { host = 'x' }",
                "host must be the name of a header",
            ),
            ("kind = 'a'\ncommand = 'x'\n[[handler]]\nkind = 'a'\ncommand = 'y'", "line 4"),
        ] {
            let error = read(&format!("[[handler]]\n{keys}\n")).expect_err(keys).to_string();
            assert!(error.contains(reason), "{keys}: {error}");
        }
    }
}
