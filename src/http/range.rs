//! Ranges of a result (RFC 9110, section 14): one range of bytes. The response to a request for several is the whole,
//! as the RFC allows.

use std::ops::Range;

/// The part of a body to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Part(Range<u64>),
    /// No byte is within the range.
    Unsatisfiable,
}

impl Extent {
    /// The part of `length` bytes that `field` requests. A malformed field requests the whole.
    pub(super) fn of(field: &str, length: u64) -> Self {
        let Some((unit, ranges)) = field.split_once('=') else { return Self::Whole };
        let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
        match (ranges.next(), ranges.next()) {
            // Empty contents have no satisfiable range.
            (Some(range), None) if unit.trim().eq_ignore_ascii_case("bytes") && length > 0 => {
                Self::one(range, length).unwrap_or(Self::Whole)
            }
            _ => Self::Whole,
        }
    }

    /// `None` if it cannot be read.
    fn one(range: &str, length: u64) -> Option<Self> {
        let (first, last) = range.split_once('-')?;
        if first.is_empty() {
            let from_end = position(last)?.min(length);
            return Some(if from_end == 0 {
                Self::Unsatisfiable
            } else {
                Self::Part(length - from_end..length)
            });
        }
        let first = position(first)?;
        let last = if last.is_empty() { u64::MAX } else { position(last)? };
        if last < first {
            None
        } else if first >= length {
            Some(Self::Unsatisfiable)
        } else {
            Some(Self::Part(first..last.min(length - 1) + 1))
        }
    }
}

/// A number of digits only; one that is too large is beyond every end.
fn position(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        use Extent::{Part, Unsatisfiable, Whole};
        let cases = [
            ("bytes=0-0", Part(0..1)),
            ("bytes=2-4", Part(2..5)),
            ("Bytes = 2-", Part(2..10)),
            ("bytes=2-99999999999999999999999", Part(2..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-30", Part(0..10)),
            ("bytes=9-9,", Part(9..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=0-1,3-4", Whole),
            ("bytes=4-2", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("lines=1-2", Whole),
        ];
        for (field, extent) in cases {
            assert_eq!(Extent::of(field, 10), extent, "{field}");
        }
        assert_eq!(Extent::of("bytes=0-", 0), Whole);
        assert_eq!(Extent::of("bytes=-1", 0), Whole);
    }
}
