//! Logs: their destination, their form, and the line for each request.
//!
//! The program sets the log up once; the library never does. Levels say who must act: `error` an operator now, `warn`
//! an operator at some time; `info` is for operators to see, `debug` helps to understand a case. A failure is logged
//! once, where it is handled.

use std::borrow::Cow;
use std::io::{IsTerminal as _, stderr};

use clap::ValueEnum;
use http::{HeaderMap, Method, StatusCode, Uri};
use tracing::Span;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use lines::Lines;

mod lines;

pub use lines::Log;

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Why a log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("--log {filter}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A word of the filter is neither a level nor a target.
    #[error(
        "--log {filter}: {word} is neither a level (error, warn, info, debug, trace, off) nor TARGET=LEVEL, \
         e.g. --log debug or --log info,h2=warn"
    )]
    Word {
        /// The filter as given.
        filter: String,
        /// The word.
        word: String,
    },
    /// The writing thread cannot be started.
    #[error("the thread of the log did not start")]
    Thread(#[source] std::io::Error),
    /// A log exists already.
    #[error("the log was set up before")]
    Again(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the lines that `filter` selects to stderr; stdout is for results. Dropping the log writes the last lines.
pub fn init(filter: &str, format: LogFormat) -> Result<Log, TelemetryError> {
    let targets = targets(filter)?;
    let (lines, log) = Lines::start(stderr()).map_err(TelemetryError::Thread)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    let filtered = tracing_subscriber::registry().with(targets);
    match format {
        LogFormat::Human => filtered.with(layer.with_ansi(is_colored())).try_init(),
        LogFormat::Json => filtered.with(layer.json().flatten_event(true)).try_init(),
    }
    .map_err(|error| TelemetryError::Again(error.into()))?;
    Ok(log)
}

/// The targets that `filter` selects; only errors if it is empty.
fn targets(filter: &str) -> Result<Targets, TelemetryError> {
    check_words(filter)?;
    let words: Vec<&str> = words(filter).filter(|word| !word.is_empty()).collect();
    let parsed = words.join(",").parse();
    parsed.map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })
}

fn words(filter: &str) -> impl Iterator<Item = &str> {
    filter.split(',').map(str::trim)
}

/// Refuses words that are neither a level nor a target. The library takes a mistyped level for a target, selects that
/// alone, and so switches all other lines off, errors included.
fn check_words(filter: &str) -> Result<(), TelemetryError> {
    let is_known = |word: &&str| {
        let is_target = word.contains(['=', ':']) || word.starts_with(env!("CARGO_PKG_NAME"));
        // Spans and their fields are not targets.
        word.is_empty() || is_target && !word.contains('[') || word.parse::<LevelFilter>().is_ok()
    };
    match words(filter).find(|word| !is_known(word)) {
        None => Ok(()),
        Some(word) => {
            let (filter, word) = (filter.to_owned(), word.to_owned());
            Err(TelemetryError::Word { filter, word })
        }
    }
}

/// The span of a request. `id` is the client's name for it.
pub fn request_span(method: &Method, uri: &Uri, id: Option<&str>) -> Span {
    let path = || without_tokens(uri.path());
    tracing::debug_span!("request", http.method = %method, http.path = &*path(), request.id = id)
}

/// A path without the tokens that are credentials by themselves.
pub fn without_tokens(path: &str) -> Cow<'_, str> {
    let is_by_token =
        ["/v1/shares/", "/v1/attempts/"].iter().find(|place| path.starts_with(**place));
    let Some(place) = is_by_token else { return Cow::Borrowed(path) };
    let rest = &path[place.len()..];
    let end = rest.find(['/', ':']).unwrap_or(rest.len());
    format!("{place}…{}", &rest[end..]).into()
}

/// Logs the outcome of a request from the head of its response. For gRPC that is the status in the headers, if there is
/// one; other calls end with trailers, which are not read here.
pub fn log_answer(status: StatusCode, headers: &HeaderMap) {
    let rpc_status = || headers.get("grpc-status").and_then(|code| code.to_str().ok());
    tracing::debug!(http.status = status.as_u16(), rpc.status = rpc_status(), "answered");
}

/// Whether stderr is a terminal whose user accepts colors (<https://no-color.org>).
fn is_colored() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_paths_are_not_logged() {
        assert_eq!(without_tokens("/v1/operations/x"), "/v1/operations/x");
        assert_eq!(without_tokens("/v1/shares/lrs_x_y/result"), "/v1/shares/…/result");
        assert_eq!(without_tokens("/v1/attempts/x:renew"), "/v1/attempts/…:renew");
        assert_eq!(without_tokens("/v1/shares/x"), "/v1/shares/…");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = init("longrun=loud", LogFormat::Human).unwrap_err();
        assert_eq!(error.to_string(), "--log longrun=loud");
        for wrong in ["verbose", "info,lout", "h2", "longrun[request]=debug"] {
            let error = init(wrong, LogFormat::Human).unwrap_err().to_string();
            assert!(error.contains("is neither a level"), "{error}");
        }
        for right in ["", "DEBUG", "info, h2=warn", "longrun::engine", "longrun", "3", "info,"] {
            assert!(targets(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn the_longest_target_decides() {
        use tracing::Level;
        let filter = targets("info, h2=warn,,longrun::engine=debug,").unwrap();
        assert!(filter.would_enable("longrun::http", &Level::INFO));
        assert!(!filter.would_enable("longrun::http", &Level::DEBUG));
        assert!(filter.would_enable("longrun::engine::commit", &Level::DEBUG));
        assert!(!filter.would_enable("h2::proto", &Level::INFO));
        let errors = targets("").unwrap();
        assert!(errors.would_enable("longrun", &Level::ERROR));
        assert!(!errors.would_enable("longrun", &Level::WARN));
    }
}
