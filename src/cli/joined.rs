//! `--wait 30s`: an optional value that is a word of its own.

use std::ffi::OsString;

use crate::time_text::parse_duration;

/// The command line with `--wait 30s` as `--wait=30s`. The value of `--wait` is optional, so clap takes no separate word
/// as the value. A duration is never an input, so this function does. What only resembles a duration, such as `30x` or
/// `-1s`, is taken as well, so that it is refused and not submitted.
pub fn joined(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let resembles = |word: &str| {
        let word = word.strip_prefix('-').unwrap_or(word);
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_id = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_unit = !unit.is_empty() && unit.chars().all(char::is_alphabetic);
        unit.len() < word.len() && is_unit && !is_id
    };
    let is_duration = |word: &OsString| {
        word.to_str().is_some_and(|word| parse_duration(word).is_ok() || resembles(word))
    };
    let mut joined: Vec<OsString> = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(mut word) = words.next() {
        if word == "--" {
            joined.push(word);
            break;
        }
        if word == "--wait"
            && let Some(duration) = words.next_if(is_duration)
        {
            word.push("=");
            word.push(duration);
        }
        joined.push(word);
    }
    joined.extend(words);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_like_a_duration_is_the_time_to_wait() {
        let second = |word: &str| joined(["--wait", word].map(Into::into))[0].clone();
        for duration in ["30s", "90", "1h30m", "30x", "-1s"] {
            assert_eq!(second(duration), *format!("--wait={duration}"), "{duration}");
        }
        for input in ["abc", "-5", "@file", "{}", "01980a3e", "-", "s"] {
            assert_eq!(second(input), "--wait", "{input}");
        }
    }
}
