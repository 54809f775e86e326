//! Points in time as numbers. Nothing here reads a clock.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Microseconds since the Unix epoch, UTC. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest time; "never" where a time is required.
    pub const MAX: Self = Self(i64::MAX);

    /// The times that RFC 3339 and protobuf can write: the years 1 to 9999, in seconds since the Unix epoch.
    const WRITABLE: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

    /// From seconds and nanoseconds since the Unix epoch, if they are a time of the years 1 to 9999.
    pub fn from_unix(seconds: i64, nanos: i32) -> Option<Self> {
        let is_time = Self::WRITABLE.contains(&seconds) && (0..1_000_000_000).contains(&nanos);
        is_time.then(|| Self(seconds * 1_000_000 + i64::from(nanos) / 1_000))
    }

    /// Seconds and nanoseconds since the Unix epoch. A time beyond the years 1 to 9999, which cannot be written, is
    /// clamped into them.
    pub fn to_unix(self) -> (i64, i32) {
        let (first, last) = (*Self::WRITABLE.start(), *Self::WRITABLE.end());
        let micros = self.0.clamp(first * 1_000_000, last * 1_000_000 + 999_999);
        let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
        (micros.div_euclid(1_000_000), nanos)
    }

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Later by `by`; at most [`Timestamp::MAX`].
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Earlier by `by`; at least the earliest time that there is.
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_never_before_another_by_less_than_nothing() {
        let (early, late) = (Timestamp::from_micros(3), Timestamp::from_micros(10));
        assert_eq!(late.since(early), Duration::from_micros(7));
        assert_eq!(late.before(late.since(early)), early);
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.after(Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn what_is_written_of_a_time_is_of_the_years_1_to_9999() {
        let last = (253_402_300_799, 999_999_000);
        for (micros, written) in [
            (-1, (-1, 999_999_000)),
            (1_500_000, (1, 500_000_000)),
            (253_402_300_799_999_999, last),
            (253_402_300_800_000_000, last),
            (i64::MAX, last),
            (-62_135_596_800_000_000, (-62_135_596_800, 0)),
            (i64::MIN, (-62_135_596_800, 0)),
        ] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(time.to_unix(), written, "{micros}");
            let (seconds, nanos) = written;
            let read = Timestamp::from_unix(seconds, nanos).map(Timestamp::to_unix);
            assert_eq!(read, Some(written));
        }
        for (seconds, nanos) in
            [(253_402_300_800, 0), (-62_135_596_801, 0), (0, -1), (0, 1_000_000_000)]
        {
            assert_eq!(Timestamp::from_unix(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
