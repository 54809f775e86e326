//! The end of a command: an outcome from its output, or a failure from its exit status. Pure.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde::de::IgnoredAny;

use super::progress_line::ProgressLine;
use super::retry_on::RetryOn;
use crate::worker::spool::{Contents, Spooled};
use crate::worker::{Failure, Outcome, Problem};

/// The maximum number of warnings and of errors of a command; the first ones are kept.
const MAX_PROBLEMS: usize = 100;
/// How much of the end of stderr a failure has, in bytes.
const TAIL: usize = 4 * 1024;

/// The command's messages on the progress descriptor about its end.
#[derive(Debug, Default)]
pub(super) struct Said {
    content_type: Option<String>,
    warnings: Vec<Problem>,
    errors: Vec<Problem>,
}

impl Said {
    /// Adds a line. Ignores progress.
    pub(super) fn add(&mut self, line: ProgressLine) {
        let (problems, problem) = match line {
            ProgressLine::Progress(_) => return,
            ProgressLine::ContentType(named) => {
                self.content_type = Some(named);
                return;
            }
            ProgressLine::Warning(warning) => (&mut self.warnings, warning),
            ProgressLine::Error(error) => (&mut self.errors, error),
        };
        if problems.len() < MAX_PROBLEMS {
            problems.push(problem);
        }
    }
}

/// The end of what a command wrote on stderr.
#[derive(Debug, Default)]
pub(super) struct Tail(String);

impl Tail {
    /// Adds a line.
    pub(super) fn push(&mut self, line: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(line);
        if self.0.len() > TAIL {
            let mut start = self.0.len() - TAIL;
            while !self.0.is_char_boundary(start) {
                start += 1;
            }
            self.0.drain(..start);
        }
    }

    fn text(&self) -> &str {
        self.0.trim()
    }
}

/// The outcome of a successful command; partial if it reported errors. The bytes stay exact; empty output is no result,
/// unless the command named a media type for it.
pub(super) fn outcome(contents: Spooled, said: Said) -> Outcome {
    let outcome =
        said.warnings.into_iter().fold(result(contents, said.content_type), Outcome::with_warning);
    said.errors.into_iter().fold(outcome, Outcome::with_error)
}

/// Contents that are not in memory are not examined: without a media type they are just bytes.
fn result(contents: Spooled, content_type: Option<String>) -> Outcome {
    let data = match (contents.0, content_type) {
        (contents, Some(named)) => return Outcome::spooled(&named, Spooled(contents)),
        (Contents::Memory(data), None) => data,
        (large, None) => return Outcome::spooled("application/octet-stream", Spooled(large)),
    };
    if data.is_empty() {
        return Outcome::empty();
    }
    if is_json(&data) {
        return Outcome::bytes("application/json", data);
    }
    match std::str::from_utf8(&data) {
        Ok(text) => Outcome::text(text),
        Err(_) => Outcome::bytes("application/octet-stream", data),
    }
}

/// The failure of an unsuccessful command: the first error that it reported, with the others as causes; else its exit
/// status and the end of stderr.
pub(super) fn failure(
    status: ExitStatus,
    stderr: &Tail,
    said: Said,
    retry_on: &RetryOn,
) -> Failure {
    if let Some((code, message)) = limit_reached(status) {
        return Failure::permanent(code, message);
    }
    let (code, fallback) = match (status.code(), status.signal()) {
        (Some(code), _) => (format!("EXIT_{code}"), format!("command exited with status {code}")),
        (None, Some(signal)) => {
            (format!("SIGNAL_{signal}"), format!("command was ended by signal {signal}"))
        }
        (None, None) => ("EXIT_UNKNOWN".to_owned(), "command ended otherwise".to_owned()),
    };
    let message = match stderr.text() {
        "" => fallback,
        text => text.to_owned(),
    };
    let mut errors = said.errors.into_iter();
    let problem = errors.next().unwrap_or_else(|| Problem::new(code, message));
    let failure = Failure::from_problem(errors.fold(problem, Problem::with_cause));
    // A crash, or a kill for lack of memory, says nothing about the work.
    match status.code().is_none_or(|code| retry_on.holds(code)) {
        true => failure,
        false => failure.into_permanent(),
    }
}

/// The system's limit that ended the command, or a program of its shell: the code and the message.
fn limit_reached(status: ExitStatus) -> Option<(&'static str, &'static str)> {
    let signal = status.signal().or_else(|| status.code().map(|code| code - 128))?;
    match Signal::from_named_raw(signal)? {
        Signal::XCPU => Some(("CPU_TIME_EXCEEDED", "the command used more CPU time than it may")),
        Signal::XFSZ => Some(("FILE_SIZE_EXCEEDED", "the command wrote a larger file than it may")),
        _ => None,
    }
}

/// Whether the output is a JSON object or array. A single number or word is more likely text.
fn is_json(data: &[u8]) -> bool {
    matches!(data.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::v1::payload::Content;

    fn result(data: &[u8], content_type: Option<&str>) -> Option<(String, Content)> {
        let contents = Spooled(Contents::Memory(Bytes::copy_from_slice(data)));
        let said = Said { content_type: content_type.map(str::to_owned), ..Said::default() };
        let outcome = outcome(contents, said);
        outcome.result.and_then(|payload| Some((payload.content_type, payload.content?)))
    }

    #[test]
    fn the_media_type_is_found_where_it_is_not_named() {
        let data = |bytes: &'static [u8]| Content::Data(Bytes::from_static(bytes));
        let json = b" {\"n\": 1.00}\n";
        assert_eq!(result(json, None), Some(("application/json".into(), data(json))));
        assert_eq!(result(b"{no", None), Some((String::new(), Content::Text("{no".into()))));
        assert_eq!(result(b"42", None), Some((String::new(), Content::Text("42".into()))));
        let binary = b"\xff\x00";
        assert_eq!(result(binary, None), Some(("application/octet-stream".into(), data(binary))));
        assert_eq!(result(b"a,b", Some("text/csv")), Some(("text/csv".into(), data(b"a,b"))));
        assert_eq!(result(b"", None), None);
        assert_eq!(result(b"", Some("text/csv")), Some(("text/csv".into(), data(b""))));
    }

    #[test]
    fn the_exit_status_says_whether_to_try_again() {
        let end = |status: i32, stderr: &Tail, retry_on: &str| {
            let retry_on = retry_on.parse().unwrap();
            failure(ExitStatus::from_raw(status), stderr, Said::default(), &retry_on)
        };
        let mut stderr = Tail::default();
        let retry = end(75 << 8, &stderr, "3");
        assert!(!retry.is_permanent());
        assert_eq!((retry.code(), retry.message()), ("EXIT_75", "command exited with status 75"));
        stderr.push("it broke");
        let last = end(1 << 8, &stderr, "3");
        assert!(last.is_permanent());
        assert_eq!((last.code(), last.message()), ("EXIT_1", "it broke"));
        assert!(!end(3 << 8, &stderr, "3").is_permanent());
        assert!(!end(1 << 8, &stderr, "all").is_permanent());
        assert_eq!(end(9, &stderr, "3").code(), "SIGNAL_9");
        for (status, code) in [(24, "CPU_TIME_EXCEEDED"), (153 << 8, "FILE_SIZE_EXCEEDED")] {
            let reached = end(status, &stderr, "all");
            assert_eq!((reached.code(), reached.is_permanent()), (code, true));
        }
    }

    #[test]
    fn only_the_end_of_stderr_is_kept() {
        let mut stderr = Tail::default();
        (0..1_000).for_each(|_| stderr.push("ééééé"));
        stderr.push("the end");
        assert!(stderr.text().len() <= TAIL && stderr.text().ends_with("the end"));
    }
}
