//! The exit codes of a command that ask for another attempt.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// EX_TEMPFAIL of sysexits.h: retry later.
const TRY_AGAIN: i32 = 75;
/// A shell adds 128 to the number of the signal that ended a program.
const BY_SIGNAL: RangeInclusive<i32> = 129..=159;

/// The exit codes that ask for another attempt, beside 75 and 129 to 159, which always do. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(Vec<RangeInclusive<u8>>);

impl RetryOn {
    /// Every code except 0.
    pub fn all() -> Self {
        Self(vec![1..=u8::MAX])
    }

    /// Whether this code asks for another attempt.
    pub fn holds(&self, code: i32) -> bool {
        let is_named = |code| self.0.iter().any(|codes| codes.contains(&code));
        code == TRY_AGAIN || BY_SIGNAL.contains(&code) || u8::try_from(code).is_ok_and(is_named)
    }
}

/// `all`, or comma-separated codes and ranges: `1,64-78`.
impl FromStr for RetryOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "must be `all`, or exit codes from 1 to 255, e.g. 1,64-78";
        if text == "all" {
            return Ok(Self::all());
        }
        let codes = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (1 <= first && first <= last).then_some(first..=last)
        };
        let parts = text.split(',').map(|part| codes(part).ok_or_else(|| RULE.to_owned()));
        parts.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_ranges_are_read() {
        let codes: RetryOn = "1, 64-78".parse().unwrap();
        let held: Vec<i32> = (0..=255).filter(|code| codes.holds(*code)).collect();
        let expected: Vec<i32> = [1].into_iter().chain(64..=78).chain(129..=159).collect();
        assert_eq!(held, expected);
        assert!(RetryOn::all().holds(255) && !RetryOn::all().holds(0));
        for wrong in ["", "0", "256", "5-3", "x", "1,,2", "ALL"] {
            assert!(wrong.parse::<RetryOn>().is_err(), "{wrong}");
        }
    }
}
