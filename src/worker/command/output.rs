//! What a command's end means: its output as an outcome, or its exit status as a failure. Pure.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use serde::de::IgnoredAny;

use crate::worker::spool::{Contents, Spooled};
use crate::worker::{Failure, Outcome};

/// EX_TEMPFAIL of sysexits.h: try again later.
const TRY_AGAIN: i32 = 75;
/// What shells add to the number of the signal that ended a program, for the exit code.
const BY_SIGNAL: std::ops::RangeInclusive<i32> = 129..=159;
/// How much of the end of stderr a failure tells.
const TAIL: usize = 4 * 1024;

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

/// The outcome of a command that succeeded. The bytes are kept exactly; nothing written is no
/// result, unless a media type was named for it.
/// What is too large for memory is not looked at: without a name it is just bytes.
pub(super) fn outcome(contents: Spooled, content_type: Option<String>) -> Outcome {
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

/// The failure of a command that did not succeed.
pub(super) fn failure(status: ExitStatus, stderr: &Tail) -> Failure {
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
    // A crash, or a kill by a machine without memory, is no verdict on the work.
    let may_pass = status.code().is_none_or(|code| code == TRY_AGAIN || BY_SIGNAL.contains(&code));
    match may_pass {
        true => Failure::retryable(code, message),
        false => Failure::permanent(code, message),
    }
}

/// Whether the output is a JSON object or array: a number or a word alone is more likely text.
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
        let outcome = outcome(contents, content_type.map(str::to_owned));
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
        let mut stderr = Tail::default();
        let retry = failure(ExitStatus::from_raw(75 << 8), &stderr);
        assert!(!retry.is_permanent());
        assert_eq!((retry.code(), retry.message()), ("EXIT_75", "command exited with status 75"));
        stderr.push("it broke");
        let last = failure(ExitStatus::from_raw(1 << 8), &stderr);
        assert!(last.is_permanent());
        assert_eq!((last.code(), last.message()), ("EXIT_1", "it broke"));
        assert_eq!(failure(ExitStatus::from_raw(9), &stderr).code(), "SIGNAL_9");
    }

    #[test]
    fn only_the_end_of_stderr_is_kept() {
        let mut stderr = Tail::default();
        (0..1_000).for_each(|_| stderr.push("ééééé"));
        stderr.push("the end");
        assert!(stderr.text().len() <= TAIL && stderr.text().ends_with("the end"));
    }
}
