//! Formats quantities, and text from outside, for people. Pure, but for [`now`].

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use crate::words::{self, is_hidden, whole};
pub(super) use crate::words::{count, duration};

/// A word for a POSIX shell that means `text`.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The clock of this machine, which ages are relative to.
#[expect(clippy::disallowed_methods, reason = "a reader's clock decides nothing")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// `3 s ago`, `in 2 m`, `now`.
pub(super) fn age(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time) {
        Ok(past) if past.as_secs() == 0 => "now".to_owned(),
        Ok(past) => format!("{} ago", whole(past)),
        Err(future) => format!("in {}", whole(future.duration())),
    }
}

/// `3 s`: how long something that began then has lasted.
pub(super) fn elapsed(since: SystemTime, now: SystemTime) -> String {
    whole(now.duration_since(since).unwrap_or_default())
}

/// `120 B`, `1.4 MiB`.
pub(super) fn bytes(count: i64) -> String {
    words::bytes(count.max(0).cast_unsigned())
}

/// A time of the API.
pub(super) fn time(timestamp: Option<&Timestamp>) -> Option<SystemTime> {
    timestamp.and_then(|timestamp| SystemTime::try_from(*timestamp).ok())
}

/// `2026-03-01T12:00:00Z`.
pub(super) fn date(time: SystemTime) -> String {
    // A server may send a wrong time, before 1970 or after 9999; that must not panic.
    let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let shown = time.clamp(SystemTime::UNIX_EPOCH, latest);
    humantime::format_rfc3339_seconds(shown).to_string()
}

/// `12:00:00`; all times are UTC.
pub(super) fn clock(time: SystemTime) -> String {
    date(time).get(11..19).unwrap_or_default().to_owned()
}

/// Untrusted text on one line, without control characters for a terminal or characters that look like other text.
pub(super) fn clean(text: &str) -> String {
    let line = text.trim_end();
    line.chars().map(|c| if c.is_control() || is_hidden(c) { ' ' } else { c }).collect()
}

/// The same with line breaks.
pub(super) fn clean_lines(text: &str) -> String {
    let kept = |c: char| c != '\r' && !is_hidden(c);
    text.trim_end().chars().filter(|c| kept(*c)).collect()
}

/// At most `most` characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_look_both_ways() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(age(now - Duration::from_millis(3_400), now), "3 s ago");
        assert_eq!(age(now + Duration::from_secs(120), now), "in 2 m");
        assert_eq!(age(now, now), "now");
        assert_eq!(elapsed(now - Duration::from_millis(3_400), now), "3 s");
        assert_eq!(elapsed(now + Duration::from_secs(120), now), "0 s", "clocks differ");
        assert_eq!(clock(now), "00:16:40");
    }

    #[test]
    fn strangers_command_no_terminal() {
        assert_eq!(clean("a\x1b[31mb\nc\n"), "a [31mb c");
        assert_eq!(clean_lines("a\x07\n\tb\x1b[0m"), "a\n\tb[0m");
        assert_eq!(clean("a\u{202e}b\u{200b}c"), "a b c");
        assert_eq!(clean_lines("a\u{202e}b\r\nc"), "ab\nc");
        assert_eq!(shorten("añb", 2), "añ…");
    }
}
