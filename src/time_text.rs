//! Durations and times as people type them: one grammar for flags, variables, query parameters, JSON and TOML.
//!
//! A duration is one number or several, each with its unit, from the largest unit to the smallest: `90`, `90s`,
//! `1.5h`, `1h30m`, `1h 30m`. A number without a unit is in seconds. A time is in RFC 3339, with its zone. Months
//! and years are not allowed, because their lengths vary.

use std::time::Duration;

use prost_types::Timestamp;

/// A text that is no duration, or one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongDuration {
    #[error("must be a duration such as 90, 90s, 1h30m or 7d (units: ms, s, m, h, d, w)")]
    Malformed,
    #[error("must be a duration of at most {}d, such as 7d", u64::MAX / 86_400)]
    TooLong,
}

/// A text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time with its zone, such as 2026-01-31T12:00:00Z or 2026-01-31T14:00:00+02:00")]
pub(crate) struct NotATime;

const SECOND: u128 = 1_000_000_000;

/// The nanoseconds of a unit.
fn unit(name: &str) -> Option<u128> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * SECOND,
        _ => return None,
    })
}

/// Reads a duration. What is finer than a nanosecond is dropped.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, WrongDuration> {
    let mut rest = text;
    match in_units(rest, SECOND) {
        Err(WrongDuration::Malformed) => {}
        nanos => return whole(nanos?),
    }
    let (mut nanos, mut last) = (0_u128, u128::MAX);
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'));
        let number_end = number_end.ok_or(WrongDuration::Malformed)?;
        let (number, behind) = rest.split_at(number_end);
        let behind = behind.trim_start();
        let unit_end = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (name, behind) = behind.split_at(unit_end);
        let unit = unit(name).filter(|unit| *unit < last).ok_or(WrongDuration::Malformed)?;
        let part = in_units(number, unit)?;
        nanos = nanos.checked_add(part).ok_or(WrongDuration::TooLong)?;
        (rest, last) = (behind.trim_start(), unit);
    }
    if last == u128::MAX { Err(WrongDuration::Malformed) } else { whole(nanos) }
}

/// `12` or `1.5` units, in nanoseconds.
fn in_units(number: &str, unit: u128) -> Result<u128, WrongDuration> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(WrongDuration::Malformed),
        Some(parts) => parts,
        None => (number, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(WrongDuration::Malformed);
    }
    let fraction = &fraction[..fraction.len().min(12)];
    // At most twelve digits, and what they stand for.
    let scale = fraction.bytes().fold(1_u128, |scale, _| scale * 10);
    let part = fraction.parse::<u128>().unwrap_or_default() * unit / scale;
    let whole = whole.parse::<u128>().ok().and_then(|whole| whole.checked_mul(unit));
    whole.and_then(|whole| whole.checked_add(part)).ok_or(WrongDuration::TooLong)
}

fn whole(nanos: u128) -> Result<Duration, WrongDuration> {
    let too_long = |_| WrongDuration::TooLong;
    let seconds = u64::try_from(nanos / SECOND).map_err(too_long)?;
    Ok(Duration::new(seconds, u32::try_from(nanos % SECOND).map_err(too_long)?))
}

/// Reads a time: seconds and nanoseconds since the Unix epoch, of the years 1 to 9999. Digits behind the ninth of a
/// second's fraction are dropped; a leap second is the second before it.
pub(crate) fn parse_time(text: &str) -> Result<(i64, i32), NotATime> {
    read_time(text).ok_or(NotATime)
}

fn read_time(text: &str) -> Option<(i64, i32)> {
    const LONGEST: usize = 64;
    // The parser takes dates, and times without a zone, as well.
    let (date_and_clock, rest) = text.split_at_checked("2026-01-31T12:00:00".len())?;
    let has_colons = date_and_clock.split(':').count() == 3
        && date_and_clock.starts_with(|c: char| c.is_ascii_digit());
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let is_offset =
        zone.len() == "+00:00".len() && zone.starts_with(['+', '-']) && zone.contains(':');
    if text.len() > LONGEST
        || !has_colons
        || rest.starts_with(".Z")
        || !(is_offset || zone.eq_ignore_ascii_case("z"))
    {
        return None;
    }
    let Timestamp { seconds, nanos } = text.parse().ok()?;
    (-62_135_596_800..=253_402_300_799).contains(&seconds).then_some((seconds, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_units_from_large_to_small() {
        let cases = [
            ("90", 90_000),
            ("90s", 90_000),
            ("0", 0),
            ("1.5s", 1_500),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1 hour 30 minutes", 5_400_000),
            ("2min", 120_000),
            ("7d", 604_800_000),
            ("1w1d", 691_200_000),
            ("0.5d", 43_200_000),
            ("00000000000000000000000000000001s", 1_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in [
            "", " ", "s", "-1", "+1", "1e9", "1.2.3", "1.", ".5", "5x", "1y", "30m1h", "1m1m",
            "1h30", "soon", "1M", "1 2s", "٣s",
        ] {
            assert_eq!(parse_duration(wrong), Err(WrongDuration::Malformed), "{wrong}");
        }
        for long in [
            "99999999999999999999999999999999999999999",
            "9999999999999999w",
            "99999999999999999999d",
        ] {
            assert_eq!(parse_duration(long), Err(WrongDuration::TooLong), "{long}");
        }
    }

    #[test]
    fn times_have_a_zone() {
        let noon = 1_769_860_800;
        for (text, time) in [
            ("2026-01-31T12:00:00Z", (noon, 0)),
            ("2026-01-31t12:00:00z", (noon, 0)),
            ("2026-01-31 12:00:00.25Z", (noon, 250_000_000)),
            ("2026-01-31T14:30:00+02:30", (noon, 0)),
            ("2026-01-31T04:00:00.1234567899-08:00", (noon, 123_456_789)),
            ("2016-12-31T23:59:60Z", (1_483_228_799, 0)),
            ("0001-01-01T00:00:00Z", (-62_135_596_800, 0)),
            ("9999-12-31T23:59:59Z", (253_402_300_799, 0)),
            ("2024-02-29T00:00:00Z", (1_709_164_800, 0)),
        ] {
            assert_eq!(parse_time(text), Ok(time), "{text}");
        }
        for wrong in [
            "",
            "now",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+2:00",
            "2026-01-31T12:00:00+02:00x",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-00:01",
            "2026-01-31T12:00:00é",
            "+026-01-31T12:00:00Z",
        ] {
            assert_eq!(parse_time(wrong), Err(NotATime), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?[0-9.]{0,24} ?[a-zµ]{0,4}[0-9]{0,3}.{0,4}") {
            let _ = parse_duration(&text);
            let _ = parse_time(&text);
        }

        #[test]
        fn almost_times_are_read_or_refused(
            text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?(Z|[+-][0-9]{2}:[0-9]{2}|.{0,3})"
        ) {
            let reference = text.parse::<Timestamp>().ok();
            if let (Ok((seconds, nanos)), Some(reference)) = (parse_time(&text), reference) {
                prop_assert_eq!((seconds, nanos), (reference.seconds, reference.nanos));
            }
        }

        #[test]
        fn durations_are_read_as_they_are_written(seconds in 0_u64..2_000_000, nanos in 0_u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            let written = humantime::format_duration(duration).to_string();
            prop_assert_eq!(parse_duration(&written), Ok(duration));
            prop_assert_eq!(parse_duration(&written.replace(' ', "")), Ok(duration));
            prop_assert_eq!(parse_duration(&format!("{seconds}.{nanos:09}")), Ok(duration));
        }

        #[test]
        fn times_are_read_as_they_are_written(
            seconds in -62_135_596_800_i64..=253_402_300_799,
            nanos in 0_i32..1_000_000_000
        ) {
            let written = Timestamp { seconds, nanos }.to_string();
            prop_assert_eq!(parse_time(&written), Ok((seconds, nanos)));
        }
    }
}
