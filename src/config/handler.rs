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
    /// What it is confined to, in place of what all commands are.
    pub confinement: OwnConfinement,
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

/// Reads the kind that a handler executes: any but that of batches, which the server itself executes.
pub fn handled_kind(text: &str) -> Result<Kind, String> {
    let kind = Kind::parse(text).map_err(|error| error.to_string())?;
    match kind.is_of_batches() {
        true => Err(format!("must not be {kind}, which the server itself executes")),
        false => Ok(kind),
    }
}

impl Handler {
    /// A handler that shares its concurrency. `text` is `KIND=…`, as flags have it; `work` reads what is behind the sign.
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
    /// Runs a program that gets nothing beyond what all get.
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
