//! Header fields as this interface reads and writes them: pure functions of text and numbers.

use std::time::Duration;

use http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

use crate::operation::HttpHeader;
use crate::service::{RATE_WINDOW, Rate, ServiceError};

/// The client's name for a submission (draft-ietf-httpapi-idempotency-key-header).
pub(super) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The client's preferences (RFC 7240).
pub(super) static PREFER: HeaderName = HeaderName::from_static("prefer");
/// The preferences that were applied.
pub(super) static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The URL of the status document, which Azure's pollers read.
pub(super) static OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");
/// The source of an error: `gateway` is this service, `operation` the work itself.
pub(super) static ERROR_SOURCE: HeaderName = HeaderName::from_static("longrun-error-source");
/// A tenant's submissions compared with their limit, and the limit (draft-ietf-httpapi-ratelimit-headers).
pub(super) static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The number of errors of a partial success.
pub(super) static ERRORS: HeaderName = HeaderName::from_static("longrun-errors");
/// The number of warnings of a result.
pub(super) static WARNINGS: HeaderName = HeaderName::from_static("longrun-warnings");
/// The type URL of a result that is a protobuf message.
pub(super) static TYPE_URL: HeaderName = HeaderName::from_static("longrun-type-url");

/// The header fields that describe a body, beside its type (RFC 9110, section 8): an input is incomplete without them.
const OF_A_BODY: [HeaderName; 3] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION];

/// The fields about the rate limit of submissions: `"submissions";q=QUOTA;w=SECONDS`, and
/// `"submissions";r=REMAINING;t=SECONDS`.
pub(super) fn rate_limits(rate: Rate) -> [(HeaderName, HeaderValue); 2] {
    let Rate { quota, remaining, reset } = rate;
    let policy = format!("\"submissions\";q={quota};w={}", RATE_WINDOW.as_secs());
    let seconds = reset.as_millis().div_ceil(1_000);
    let now = format!("\"submissions\";r={remaining};t={seconds}");
    // The values consist of digits and quotes.
    let value =
        |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    [(RATE_LIMIT_POLICY.clone(), value(policy)), (RATE_LIMIT.clone(), value(now))]
}

/// Adds the request's field `name` to `Vary`.
pub(super) fn vary_by(headers: &mut HeaderMap, name: &'static str) {
    let said = headers.get_all(VARY).iter().filter_map(|field| field.to_str().ok());
    let mut known = said.flat_map(|field| field.split(',')).map(str::trim);
    if !known.any(|known| known == "*" || known.eq_ignore_ascii_case(name)) {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}

/// The fields of a request that describe its body.
pub(super) fn of_a_body(headers: &HeaderMap) -> Vec<HttpHeader> {
    let named = OF_A_BODY.iter().flat_map(|name| {
        headers.get_all(name).iter().map(move |value| HttpHeader {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_vec(),
        })
    });
    named.collect()
}

/// Whether the field describes a body.
pub(super) fn is_of_a_body(name: &str) -> bool {
    OF_A_BODY.iter().any(|known| known.as_str() == name)
}

/// A duration in whole seconds, rounded up; at least 1.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    rounded.max(1)
}

/// The value of a wait that is too large for a number; above every maximum.
const LONGEST_WAIT: u64 = u32::MAX as u64;

/// The preferences of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// `respond-async`.
    pub(super) respond_async: bool,
    /// `wait=N`.
    pub(super) wait: Option<Duration>,
}

impl Preferences {
    /// Reads all `Prefer` fields. Ignores unknown and malformed preferences; of duplicates the first counts (both as in
    /// RFC 7240).
    pub(super) fn parse(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for field in headers.get_all(&PREFER).iter().filter_map(|field| field.to_str().ok()) {
            for preference in split_unquoted(field, ',') {
                // Parameters after a semicolon have no meaning for the two known preferences.
                let preference = split_unquoted(preference, ';').next().unwrap_or_default();
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "respond-async" => found.respond_async = true,
                    "wait" if found.wait.is_none() && digits(value) => {
                        // A number with too many digits is long enough in any case.
                        let seconds = value.parse().unwrap_or(LONGEST_WAIT);
                        found.wait = Some(Duration::from_secs(seconds));
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

/// The preferences of a `Prefer` field that are not known here, each with its parameters.
pub(super) fn others_preferred(field: &str) -> impl Iterator<Item = &str> {
    split_unquoted(field, ',').filter(|preference| {
        let name = preference.split(['=', ';']).next().unwrap_or_default().trim();
        !name.is_empty()
            && !name.eq_ignore_ascii_case("respond-async")
            && !name.eq_ignore_ascii_case("wait")
    })
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The parts of `text` between separators outside quotes.
pub(super) fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        let was_escaped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => return character == separator && !quoted,
        }
        false
    })
}

/// The idempotency key of a request, bare or as a quoted string (RFC 8941); empty if there is none. Not validated here.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<String, ServiceError> {
    let invalid = |rule| ServiceError::invalid_field("Idempotency-Key", rule);
    let mut fields = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(field) = fields.next() else { return Ok(String::new()) };
    if fields.next().is_some() {
        return Err(invalid("must be given once"));
    }
    let text =
        field.to_str().map_err(|_| invalid("must be 1 to 255 printable ASCII characters"))?;
    let text = text.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest)
            .ok_or_else(|| invalid("must be a string as in RFC 8941, such as \"monday\""))?,
        None => text.to_owned(),
    };
    if key.is_empty() { Err(invalid("must not be empty")) } else { Ok(key) }
}

/// The string after its opening quote; parameters after it are ignored.
fn unquote(text: &str) -> Option<String> {
    let mut string = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => string.push(characters.next().filter(|it| matches!(it, '"' | '\\'))?),
            character => string.push(character),
        }
    }
    let rest = characters.as_str().trim_start();
    (rest.is_empty() || rest.starts_with(';')).then_some(string)
}

/// The type and subtype of a media type, in lower case.
pub(super) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether the media type says that the body is JSON.
pub(super) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence == "application/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap());
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn seconds_are_rounded_up() {
        let cases = [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)];
        for (millis, seconds) in cases {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }

    #[test]
    fn preferences_are_read_as_the_rfc_has_them() {
        let cases: [(&[&str], bool, Option<u64>); 11] = [
            (&[], false, None),
            (&["respond-async"], true, None),
            (&["respond-async, wait=5"], true, Some(5)),
            (&["Respond-Async; x=y", "WAIT=\"7\""], true, Some(7)),
            (&["wait = 3"], false, Some(3)),
            (&["wait=5, wait=9"], false, Some(5)),
            (&["wait=soon, wait=-1, wait=, wait=2"], false, Some(2)),
            (&["foo=\"a, respond-async, wait=4\""], false, None),
            (&["foo=\"a\\\", wait=4\", wait=6"], false, Some(6)),
            (&["return=minimal,,;wait=1"], false, None),
            (&["wait=99999999999999999999999"], false, Some(LONGEST_WAIT)),
        ];
        for (fields, respond_async, wait) in cases {
            let found = Preferences::parse(&headers(&PREFER, fields));
            let expected = Preferences { respond_async, wait: wait.map(Duration::from_secs) };
            assert_eq!(found, expected, "{fields:?}");
        }
    }

    #[test]
    fn keys_are_taken_quoted_and_bare() {
        let cases = [
            ("abc", Some("abc")),
            ("\"abc\"", Some("abc")),
            ("\"a\\\"b\\\\c\"", Some("a\"b\\c")),
            ("\"abc\";p=1", Some("abc")),
            ("a\"b", Some("a\"b")),
            ("\"abc", None),
            ("\"abc\" d", None),
            ("\"abc\\", None),
            ("\"a\\q\"", None),
            ("\"\"", None),
            ("", None),
            ("kéy", None),
        ];
        for (field, key) in cases {
            let found = idempotency_key(&headers(&IDEMPOTENCY_KEY, &[field]));
            assert_eq!(found.ok().as_deref(), key, "{field}");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), "");
        assert!(idempotency_key(&headers(&IDEMPOTENCY_KEY, &["a", "a"])).is_err());
    }

    #[test]
    fn json_is_recognised_by_its_media_type() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["", "text/json", "application/x-www-form-urlencoded", "text/plain; a=+json"] {
            assert!(!is_json(no), "{no}");
        }
    }
}
