//! Finds paths that some reader might take for other paths.
//!
//! A pure function of text. It decodes a path in every way in which servers are known to do so. It may only refuse
//! paths, and must never decide which path is sent.

use std::borrow::Cow;

/// A path that some reader might take for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must not have dot segments, even encoded ones, or begin with two slashes after the prefix, or be \
     percent-encoded many times over"
)]
pub struct Devious;

/// The maximum number of nested encodings of a path. No client needs more, and each one costs a pass.
const MAX_ENCODINGS: usize = 8;

/// Refuses a path with segments that any reader on the way could take as leading upwards.
pub fn check(rest: &str) -> Result<(), Devious> {
    let mut text = rest.as_bytes().to_vec();
    // Decoded repeatedly, because the next reader may decode what one leaves encoded.
    for _ in 0..MAX_ENCODINGS {
        if leads_elsewhere(&text) || leads_elsewhere(&folded(&text)) {
            return Err(Devious);
        }
        let decoded = decoded(&text);
        if decoded == text {
            return Ok(());
        }
        text = decoded;
    }
    Err(Devious)
}

fn leads_elsewhere(text: &[u8]) -> bool {
    let escapes = text.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots);
    let doubled = matches!(text, [b'/' | b'\\', b'/' | b'\\', ..]);
    escapes || doubled || text.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r'))
}

/// Whether the segment is this folder or the one above. Some servers first cut off parameters, some white space.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | 0xa0);
    let dots = name.iter().filter(|byte| **byte == b'.').count();
    matches!(dots, 1 | 2) && name.iter().all(|byte| *byte == b'.' || is_space(*byte))
}

/// Decodes every percent-encoded byte once, and `%uXXXX`, which some servers know, as a character.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((first, rest)) = left.split_first() {
        let (length, escaped) = match (first, rest) {
            (b'%', [b'u' | b'U', digits @ ..]) => (5, digits.get(..4).and_then(number)),
            (b'%', digits) => (2, digits.get(..2).and_then(number)),
            _ => (0, None),
        };
        left = if escaped.is_some() { rest.get(length..).unwrap_or_default() } else { rest };
        match escaped {
            None => plain.push(*first),
            Some(byte) if length == 2 => plain.push(byte.to_le_bytes()[0]),
            Some(code) => {
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    plain
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}

/// The text as decoded by a reader that accepts overlong UTF-8, and that takes characters for the ASCII characters that
/// they look like.
fn folded(text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((first, rest)) = left.split_first() {
        let (more, bits) = match first {
            0xc0..=0xdf => (1, first & 0x1f),
            0xe0..=0xef => (2, first & 0x0f),
            0xf0..=0xf7 => (3, first & 0x07),
            0xf8..=0xfb => (4, first & 0x03),
            0xfc..=0xfd => (5, first & 0x01),
            _ => (0, 0),
        };
        let code = rest.get(..more).filter(|_| more > 0).map(|rest| {
            let more = rest.iter().map(|byte| u32::from(byte & 0x3f));
            more.fold(u32::from(bits), |code, bits| code << 6 | bits)
        });
        let looks_like: Option<&[u8]> = match code {
            Some(0x2024 | 0xfe52 | 0xff0e) => Some(b"."),
            Some(0x2025 | 0xfe30) => Some(b".."),
            Some(0x2044 | 0x2215 | 0xff0f) => Some(b"/"),
            Some(0x2216 | 0xfe68 | 0xff3c) => Some(b"\\"),
            Some(0x00a0 | 0x3000) => Some(b" "),
            Some(0xff1b) => Some(b";"),
            _ => None,
        };
        let overlong = code.and_then(|code| u8::try_from(code).ok()).filter(u8::is_ascii);
        left = match (looks_like, overlong) {
            (Some(ascii), _) => {
                plain.extend_from_slice(ascii);
                rest.get(more..).unwrap_or_default()
            }
            (None, Some(ascii)) => {
                plain.push(ascii);
                rest.get(more..).unwrap_or_default()
            }
            (None, None) => {
                plain.push(*first);
                rest
            }
        };
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_might_lead_elsewhere_is_refused() {
        for good in [
            "/",
            "/a/b.c",
            "/a//b",
            "/...",
            "/a%20b",
            "/%zz",
            "/a;b=..c",
            "/%u",
            "/%u00e9t%u00e9",
            "/caf%c3%a9",
            "/caf%e9/%c0b",
            "/a.%20b",
            "/%20",
            "/%e2%80%a6",
            "/%ef%bc%8e%ef%bc%8e%ef%bc%8e",
            "/100%25",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "/..",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/%2E./a",
            "//evil",
            "/%2f/evil",
            "/..;x/a",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5c..",
            "/%252e%252e/a",
            "/%25252e%25252e",
            "/a%00b",
            "/a%0d%0a",
            // Overlong UTF-8.
            "/%c0%ae%c0%ae/a",
            "/%c0%2e%c0%2e/a",
            "/%e0%80%ae%e0%80%ae/a",
            "/%f0%80%80%ae./a",
            "/a%c0%af..%c0%afb",
            "/a%c1%9c..%c1%9cb",
            "/x%c1/../b",
            "/%25c0%25ae./a",
            // White space that some systems cut off.
            "/..%20/a",
            "/%20../a",
            "/.%20./a",
            "/..%09/a",
            "/..%c2%a0/a",
            "/..%20;x/a",
            // Numbers of characters.
            "/%u002e%u002e/a",
            "/%U002E./a",
            "/a%u002f..%u005cb",
            "/%uff0e%uff0e/a",
            // Characters that look like others.
            "/%ef%bc%8e%ef%bc%8e/a",
            "/a%ef%bc%8f..%ef%bc%8fb",
            "/a%ef%bc%bc..",
            "/%e2%80%a4%e2%80%a4/a",
            "/%e2%80%a5/a",
        ] {
            assert_eq!(check(bad), Err(Devious), "{bad}");
        }
        assert_eq!(check(&format!("/%{}41", "25".repeat(20_000))), Err(Devious));
    }
}
