//! Formats quantities and foreign text for people, on the command line and on pages. Pure.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `450 ms`, `4.2 s`, `42 s`, `1 m 12 s`, `2 h 5 m`, `3 d 4 h`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => match duration.as_micros() {
            micros @ 100..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
            micros => format!("{} ms", micros / 1_000),
        },
        1..10 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        _ => whole(duration),
    }
}

/// The same in whole seconds: `0 s`, `4 s`, `1 m 12 s`.
pub(crate) fn whole(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => pair(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        HOUR..DAY => pair(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ => pair(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// `1 object`, `1,200 objects`.
pub(crate) fn count(number: u64, of: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {of}{}", if number == 1 { "" } else { "s" })
}

/// `120 B`, `1.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut size = count as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") }
}

/// Whether a character of foreign text commands a terminal, or makes text look like other text: controls but for line breaks
/// and tabs, overrides of direction, and what has no width.
pub(crate) fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (450, "450 ms"),
            (4_250, "4.2 s"),
            (42_900, "42 s"),
            (60_000, "1 m"),
            (72_000, "1 m 12 s"),
            (7_500_000, "2 h 5 m"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(whole(Duration::from_millis(4_250)), "4 s");
    }

    #[test]
    fn sizes_are_rounded() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_500_000), "1.4 MiB");
    }

    #[test]
    fn counts_are_readable() {
        let counts = [0, 1, 999, 1_000, 1_234_567].map(|number| count(number, "object"));
        let expected = ["0 objects", "1 object", "999 objects", "1,000 objects"];
        assert_eq!(counts[..4], expected);
        assert_eq!(counts[4], "1,234,567 objects");
    }
}
