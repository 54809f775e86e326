//! Handlers, which execute the operations of a kind: `[[handler]]` tables of the configuration file, or flags.
//!
//! A handler is a command, or an HTTP endpoint.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use super::confinement::OwnConfinement;
use crate::operation::Kind;
use crate::worker::command::RetryOn;

pub(super) mod table;

/// The handler of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    /// The kind.
    pub kind: String,
    /// A command or an endpoint.
    pub work: Work,
    /// How many attempts run at once, from 1 to 10,000; `None`: it shares with all other handlers without a number.
    pub concurrency: Option<u16>,
}

/// What is done for each attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Runs a program.
    Command(CommandLine),
    /// Sends a request.
    Endpoint(Box<Endpoint>),
}

/// A program and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub words: Words,
    /// Additional environment variables that it gets.
    pub variables: Vec<String>,
    /// Exit codes that ask for another attempt.
    pub retry_on: Option<RetryOn>,
    /// Its own confinement, which replaces that of all commands key by key.
    pub confinement: OwnConfinement,
}

/// The form of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// A line for `/bin/sh`.
    Shell(String),
    /// A program with its arguments, unchanged; at least one word.
    Program(Vec<OsString>),
}

/// A URL to which attempts are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL.
    pub url: EndpointUrl,
    /// A file of certificates (PEM), the only trusted ones for an `https` URL; by default the system's are trusted.
    pub ca_file: Option<PathBuf>,
    /// Header fields of every request.
    pub headers: Vec<(HeaderName, FieldValue)>,
    /// The time limit for connecting; 5 s by default.
    pub connect_timeout: Duration,
    /// The time limit for the whole response; 10 min by default.
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

/// The source of a header field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// The value itself.
    Text(HeaderValue),
    /// A file, read for each attempt.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// Reads a kind that handlers execute: any except that of batches, which the server itself executes.
pub fn handled_kind(text: &str) -> Result<Kind, String> {
    let kind = Kind::parse(text).map_err(|error| error.to_string())?;
    match kind.is_of_batches() {
        true => Err(format!("must not be {kind}, which the server itself executes")),
        false => Ok(kind),
    }
}

/// Reads the name of an environment variable.
pub fn variable(name: &str) -> Result<String, String> {
    match name.is_empty() || name.contains('=') {
        true => Err("must be the NAME of a variable, without its value, e.g. LANG".to_owned()),
        false => Ok(name.to_owned()),
    }
}

impl Handler {
    /// A handler without a concurrency of its own. `text` is a flag's `KIND=…`; `work` parses the part after the sign.
    pub fn of_flag(
        text: &str,
        work: impl FnOnce(&str) -> Result<Work, String>,
    ) -> Result<Self, String> {
        let (kind, rest) = text.split_once('=').ok_or("must have a kind and `=` before it")?;
        handled_kind(kind).map_err(|error| format!("the kind {error}"))?;
        Ok(Self { kind: kind.to_owned(), work: work(rest)?, concurrency: None })
    }
}

impl CommandLine {
    /// A program without options.
    pub fn new(words: Words) -> Self {
        Self {
            words,
            variables: Vec::new(),
            retry_on: None,
            confinement: OwnConfinement::default(),
        }
    }
}

impl Endpoint {
    /// Posts to `url`, with defaults for everything else.
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
        // Not repeated, because it may contain a password.
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

/// Without the query, which may contain a key.
impl std::fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.target.path())
    }
}
