//! The settings of one operation: time limits, retries, priority, retention.
//!
//! Each setting is declared once, in [`Settings::ALL`]: checks, query parameters, command-line flags, the OpenAPI
//! document and the table in `docs/http.md` are generated from it or tested against it.

use std::fmt;
use std::time::Duration;

use super::RetryPolicy;

/// The settings of a submission, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// From 0 to 100; higher ones start first.
    pub priority: u8,
    /// The longest time from the start time to the start of the first attempt.
    pub queue_timeout: Option<Duration>,
    /// The longest duration of one attempt.
    pub attempt_timeout: Option<Duration>,
    /// The longest time from submission to the end.
    pub deadline: Option<Duration>,
    /// The policy for retries.
    pub retry_policy: RetryPolicy,
    /// How long a worker has to stop after a cancel.
    pub cancel_grace: Duration,
    /// How long the record is kept after the operation is done.
    pub retention: Duration,
}

/// One setting, as submitters see it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name as a query parameter; as a flag, with dashes.
    pub name: &'static str,
    /// Its path in `longrun.v1.Settings`.
    pub path: &'static str,
    /// The type and the allowed range.
    pub range: Range,
    /// The default, in words.
    pub default: &'static str,
    /// The effect, as a sentence without its full stop.
    pub about: &'static str,
}

/// The type of a setting, with its least and greatest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// A whole number.
    Whole(i32, i32),
    /// A number.
    Real(f64, f64),
    /// A duration.
    Time(Duration, Duration),
}

impl Setting {
    const fn new(
        name: &'static str,
        path: &'static str,
        range: Range,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, path, range, default, about }
    }

    /// The setting at `path` of `longrun.v1.Settings`.
    pub fn at(path: &str) -> Option<&'static Self> {
        Settings::ALL.iter().find(|setting| setting.path == path)
    }
}

impl Settings {
    const LIMIT: Range = Range::Time(Self::MIN_TIMEOUT, Self::MAX_DURATION);
    const GRACE: Range = Range::Time(Duration::ZERO, Self::MAX_CANCEL_GRACE);
    const KEPT: Range = Range::Time(Duration::ZERO, Self::MAX_DURATION);
    const BACKOFF: Range = Range::Time(Duration::ZERO, Self::MAX_BACKOFF);
    const PRIORITIES: Range = Range::Whole(0, Self::MAX_PRIORITY as i32);
    const ATTEMPTS: Range = Range::Whole(1, Self::MAX_ATTEMPTS as i32);
    const FACTOR: Range = Range::Real(1.0, Self::MAX_MULTIPLIER);

    /// Every setting: name, path, range, default, what it does.
    #[rustfmt::skip]
    pub const ALL: &[Setting] = &[
        Setting::new("priority", "priority", Self::PRIORITIES, "0",
            "Within a kind, operations of a higher priority start first"),
        Setting::new("queue_timeout", "queue_timeout", Self::LIMIT, "none",
            "Longest time from the start time to the start of the first attempt"),
        Setting::new("attempt_timeout", "attempt_timeout", Self::LIMIT, "none",
            "Longest time for one attempt"),
        Setting::new("deadline", "deadline", Self::LIMIT, "none",
            "Longest time from submission to the end"),
        Setting::new("cancel_grace", "cancel_grace", Self::GRACE, "30s",
            "How long a worker has to stop after a cancel"),
        Setting::new("retention", "retention", Self::KEPT, "the server's, 7d",
            "How long the record is kept once the operation is done"),
        Setting::new("max_attempts", "retry_policy.max_attempts", Self::ATTEMPTS, "5",
            "The most attempts, the first included"),
        Setting::new("initial_backoff", "retry_policy.initial_backoff", Self::BACKOFF, "1s",
            "The wait before the second attempt"),
        Setting::new("backoff_multiplier", "retry_policy.multiplier", Self::FACTOR, "2",
            "The factor from one wait to the next"),
        Setting::new("max_backoff", "retry_policy.max_backoff", Self::BACKOFF, "1m",
            "The longest wait between two attempts"),
        Setting::new("backoff_jitter", "retry_policy.jitter", Range::Real(0.0, 1.0), "0.2",
            "The share of a wait that is random"),
    ];

    /// The highest priority.
    pub const MAX_PRIORITY: u8 = 100;
    /// The shortest time limit.
    pub const MIN_TIMEOUT: Duration = Duration::from_millis(1);
    /// The longest time limit and retention: ten years.
    pub const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
    /// The longest grace period.
    pub const MAX_CANCEL_GRACE: Duration = Duration::from_secs(3600);
    /// The longest backoff.
    pub const MAX_BACKOFF: Duration = Duration::from_secs(24 * 3600);
    /// The maximum number of attempts.
    pub const MAX_ATTEMPTS: u32 = 1_000;
    /// The largest multiplier of backoffs.
    pub const MAX_MULTIPLIER: f64 = 100.0;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            priority: 0,
            queue_timeout: None,
            attempt_timeout: None,
            deadline: None,
            retry_policy: RetryPolicy::default(),
            cancel_grace: Duration::from_secs(30),
            retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(least, most) => write!(f, "{least} to {most}"),
            Self::Real(least, most) => write!(f, "{least} to {most}"),
            Self::Time(least, most) => write!(f, "{} to {}", span(*least), span(*most)),
        }
    }
}

/// The duration in the largest unit that divides it.
fn span(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let unit = units.iter().find(|(size, _)| millis != 0 && millis.is_multiple_of(*size));
    unit.map_or_else(|| "0s".to_owned(), |(size, unit)| format!("{}{unit}", millis / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_settings_is_true() {
        let page = include_str!("../../docs/http.md");
        let rows = Settings::ALL.iter().map(|setting| {
            let Setting { name, range, default, about, .. } = setting;
            format!("| `{name}` | {range} | {default} | {about} |\n")
        });
        let head = "| setting | from … to | default | what it does |\n| --- | --- | --- | --- |\n";
        let table = head.to_owned() + &rows.collect::<String>();
        assert!(page.contains(&table), "docs/http.md must have this table:\n{table}");
    }

    #[test]
    fn the_comments_of_the_proto_are_true() {
        let proto = include_str!("../../proto/longrun/v1/operations.proto");
        let words: Vec<&str> = proto.split_whitespace().filter(|word| *word != "//").collect();
        let proto = words.join(" ");
        for Setting { path, range, default, .. } in Settings::ALL {
            let message = if path.contains('.') { "RetryPolicy" } else { "Settings" };
            let field = path.rsplit('.').next().unwrap();
            let (_, body) = proto.split_once(&format!("message {message} {{")).unwrap();
            let (before, _) = body.split_once(&format!(" {field} = ")).expect(path);
            let default = match *default {
                "none" => "no limit by default".to_owned(),
                "the server's, 7d" => {
                    "by default the server's default, which is 7d unless configured".to_owned()
                }
                default => format!("{default} by default"),
            };
            let end = format!("From {range}; {default}.");
            // Only the field's type follows it.
            let has_it = before.rsplit_once(&end).is_some_and(|(_, behind)| !behind.contains(';'));
            assert!(has_it, "the comment of {field} in operations.proto must end with \"{end}\"");
        }
    }
}
