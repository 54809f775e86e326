//! Lines of a command's progress descriptor. Pure: text in, meaning out.

use serde_json::{Map, Value};

use crate::worker::{Problem, Progress};

/// The prefix of the line that names the result's media type.
const CONTENT_TYPE: &str = "content-type:";
/// The maximum length of a media type, in bytes.
const MAX_CONTENT_TYPE: usize = 255;

/// A parsed line.
#[derive(Clone, Debug, PartialEq)]
pub enum ProgressLine {
    /// The command's progress.
    Progress(Progress),
    /// The media type of the result.
    ContentType(String),
    /// A warning for the submitter, beside the result.
    Warning(Problem),
    /// Why the command fails. With exit 0, the success is only partial.
    Error(Problem),
}

impl ProgressLine {
    /// Parses a line. Every line that is not blank has a meaning: one without another form is a message.
    ///
    /// | line | meaning |
    /// | --- | --- |
    /// | `{"percent":40,"done":4,"total":10,"message":"…"}` | what it says; each part optional |
    /// | `40`, `40%`, `40% copying` | percent, message |
    /// | `4/10`, `4/10 copying` | units, message |
    /// | `content-type: text/csv` | the result's media type |
    /// | `warning: …`, `warning CODE: …` | a warning beside the result, with a code of the application |
    /// | `error: …`, `error CODE: …` | why the command fails; with exit 0, an error beside a partial result |
    /// | anything else | message |
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() {
            return None;
        }
        if let Some(content_type) = content_type(line) {
            return Some(Self::ContentType(content_type));
        }
        if let Some(warning) = problem(line, "warning") {
            return Some(Self::Warning(warning));
        }
        if let Some(error) = problem(line, "error") {
            return Some(Self::Error(error));
        }
        let progress = object(line).or_else(|| numbers(line));
        Some(Self::Progress(progress.unwrap_or_else(|| Progress::message(line))))
    }
}

fn content_type(line: &str) -> Option<String> {
    let (name, value) = line.split_at_checked(CONTENT_TYPE.len())?;
    let value = value.trim();
    let plausible = value.len() <= MAX_CONTENT_TYPE
        && value.contains('/')
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (name.eq_ignore_ascii_case(CONTENT_TYPE) && plausible).then(|| value.to_owned())
}

/// `word: message` or `word CODE: message`.
fn problem(line: &str, word: &str) -> Option<Problem> {
    let (name, rest) = line.split_at_checked(word.len())?;
    let (code, message) = rest.split_once(':')?;
    let (code, message) = (code.trim(), message.trim());
    let has_code = !code.is_empty();
    let is_problem = name.eq_ignore_ascii_case(word)
        && !code.contains(char::is_whitespace)
        && rest.starts_with([':', ' '])
        && (has_code || rest.starts_with(':'));
    let code = if has_code { code.to_owned() } else { word.to_uppercase() };
    is_problem.then(|| Problem::new(code, message))
}

fn object(line: &str) -> Option<Progress> {
    let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let count = |name: &str| fields.get(name).and_then(Value::as_f64).map(|count| count as i64);
    let mut progress = match (count("done"), count("total")) {
        (Some(done), Some(total)) => Progress::units(done, total),
        (Some(done), None) => Progress::done(done),
        (None, _) => Progress::default(),
    };
    if let Some(percent) = fields.get("percent").and_then(Value::as_f64) {
        progress = progress.with_percent(percent);
    }
    if let Some(message) = fields.get("message").and_then(Value::as_str) {
        progress = progress.with_message(message);
    }
    Some(progress)
}

fn numbers(line: &str) -> Option<Progress> {
    let (first, message) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let progress = match first.split_once('/') {
        Some((done, total)) => Progress::units(done.parse().ok()?, total.parse().ok()?),
        None => Progress::percent(percent(first)?),
    };
    Some(progress.with_message(message.trim()))
}

/// A number from 0 to 100, with or without `%`. `2026 rows` is a message.
fn percent(text: &str) -> Option<f64> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = digits.parse().ok()?;
    (plain && (0.0..=100.0).contains(&number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(line: &str) -> Progress {
        match ProgressLine::parse(line) {
            Some(ProgressLine::Progress(progress)) => progress,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn percentages_and_units_may_be_followed_by_text() {
        assert_eq!(progress("40"), Progress::percent(40.0));
        assert_eq!(progress(" 12.5% \r"), Progress::percent(12.5));
        assert_eq!(
            progress("40% copying a b"),
            Progress::percent(40.0).with_message("copying a b")
        );
        assert_eq!(progress("4/10"), Progress::units(4, 10));
        assert_eq!(progress("4/10 files"), Progress::units(4, 10).with_message("files"));
    }

    #[test]
    fn objects_say_what_they_say() {
        let all = progress(r#"{"percent":40,"done":4,"total":10,"message":"copying"}"#);
        assert_eq!(all, Progress::units(4, 10).with_percent(40.0).with_message("copying"));
        assert_eq!(progress(r#"{"done":7,"more":[1]}"#), Progress::done(7));
        assert_eq!(progress(r#"{"percent":"x"}"#), Progress::default());
        assert_eq!(progress(r#"{"percent":1e9}"#), Progress::percent(100.0));
    }

    #[test]
    fn anything_else_is_a_message() {
        for line in ["copying", "101", "-3", "NaN", "1e1", "a/b", "1/2/3", "{broken", "%"] {
            assert_eq!(progress(line), Progress::message(line), "{line}");
        }
        assert_eq!(progress("2026 rows"), Progress::message("2026 rows"));
        assert_eq!(ProgressLine::parse("  "), None);
        assert_eq!(progress(&"é".repeat(5_000)), Progress::message("é".repeat(1_000)));
    }

    #[test]
    fn the_media_type_is_a_line_of_its_own() {
        let named = |text: &str| Some(ProgressLine::ContentType(text.to_owned()));
        assert_eq!(ProgressLine::parse("content-type: text/csv"), named("text/csv"));
        assert_eq!(ProgressLine::parse("Content-Type:a/b; c=d"), named("a/b; c=d"));
        assert_eq!(progress("content-type: nonsense"), Progress::message("content-type: nonsense"));
        assert_eq!(progress("content-typé: a/b"), Progress::message("content-typé: a/b"));
    }

    #[test]
    fn warnings_and_errors_may_have_a_code() {
        let warning =
            |code: &str, text: &str| Some(ProgressLine::Warning(Problem::new(code, text)));
        assert_eq!(ProgressLine::parse("warning: slow: disk"), warning("WARNING", "slow: disk"));
        assert_eq!(ProgressLine::parse("Warning SlowDisk: slow"), warning("SlowDisk", "slow"));
        let error = ProgressLine::Error(Problem::new("NoSuchUser", "no user 7"));
        assert_eq!(ProgressLine::parse("error NoSuchUser: no user 7"), Some(error));
        for line in ["error in line 7: x", "errors: 3", "warning", "error", "warnings 3: x"] {
            assert_eq!(progress(line), Progress::message(line));
        }
    }
}
