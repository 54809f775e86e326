//! Times as text: RFC 3339 in views, and any pattern by the filter `time`.

use minijinja::{Error, ErrorKind, Value};

use crate::operation::Timestamp;

/// RFC 3339, in UTC.
pub(super) fn rfc3339(at: Timestamp) -> String {
    let (seconds, nanos) = at.to_unix();
    prost_types::Timestamp { seconds, nanos }.to_string()
}

/// The filter `time(pattern)`: `%Y %m %d %H %M %S`, `%L` for milliseconds, `%a` and `%b` for the English names of day
/// and month (`Thu`, `Jan`), `%s` for Unix seconds, `%%`. None stays none.
pub(super) fn format(value: &Value, pattern: &str) -> Result<Value, Error> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    if value.is_none() || value.is_undefined() {
        return Ok(Value::from(()));
    }
    let text = value.as_str().unwrap_or_default();
    let time: prost_types::Timestamp =
        text.parse().map_err(|_| wrong("the filter time is for times such as created".into()))?;
    let mut formatted = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            formatted.push(character);
            continue;
        }
        let directive = characters.next();
        // RFC 3339 in UTC is padded, so each part has a fixed place.
        let part = match directive {
            Some('Y') => text.get(0..4),
            Some('m') => text.get(5..7),
            Some('d') => text.get(8..10),
            Some('H') => text.get(11..13),
            Some('M') => text.get(14..16),
            Some('S') => text.get(17..19),
            Some('%') => Some("%"),
            Some('s') => {
                formatted.push_str(&time.seconds.to_string());
                continue;
            }
            Some('a') => weekday(time.seconds),
            Some('b') => text.get(5..7).and_then(month),
            Some('L') => {
                formatted.push_str(&format!("{:03}", time.nanos / 1_000_000));
                continue;
            }
            _ => None,
        };
        let rule = || wrong(format!("{pattern:?} may have %Y %m %d %H %M %S %L %a %b %s and %%"));
        formatted.push_str(part.ok_or_else(rule)?);
    }
    Ok(Value::from(formatted))
}

fn weekday(seconds: i64) -> Option<&'static str> {
    // The first day of Unix time was a Thursday.
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day = seconds.div_euclid(86_400).rem_euclid(7);
    DAYS.get(usize::try_from(day).ok()?).copied()
}

fn month(number: &str) -> Option<&'static str> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_any_form() {
        let time = Value::from(rfc3339(Timestamp::from_micros(1_514_314_312_045_000)));
        let formatted = |pattern| format(&time, pattern).unwrap().to_string();
        assert_eq!(formatted("%Y-%m-%d %H:%M:%S"), "2017-12-26 18:51:52");
        assert_eq!(formatted("%a, %d %b %Y %H:%M:%S GMT"), "Tue, 26 Dec 2017 18:51:52 GMT");
        assert_eq!(formatted("%s.%L at 100%%"), "1514314312.045 at 100%");
        assert!(format(&time, "%q").is_err() && format(&Value::from("x"), "%Y").is_err());
        assert!(format(&Value::from(()), "%Y").unwrap().is_none());
    }
}
