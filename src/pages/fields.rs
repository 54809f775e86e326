//! The fields of a form or a query: names and values, percent-encoded (`application/x-www-form-urlencoded`).

/// More fields than any form has. Further ones are not read, because each takes more memory than its bytes.
const MOST: usize = 200;

/// Fields in order. A missing field is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MOST);
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// The first value without the spaces around it.
    pub(super) fn word(&self, name: &str) -> &str {
        self.get(name).trim()
    }

    /// All values of `name`, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }
}

/// Encodes a segment of a path.
pub(super) fn segment(text: &str) -> String {
    decode(text, false)
}

/// Encodes a value for a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Decodes; replaces invalid UTF-8. A percent sign without two digits stays.
fn decode(text: &str, is_form: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b'+' if is_form => bytes.push(b' '),
            b'%' => match behind {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    bytes.push(digit(*high) << 4 | digit(*low));
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte.to_ascii_lowercase().wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_send_them() {
        let fields = Fields::parse("a=1+2&b=%C3%A9%&&a=3&c&d=x%3Dy%ff");
        assert_eq!((fields.get("a"), fields.get("b"), fields.get("c")), ("1 2", "é%", ""));
        assert_eq!((fields.get("d"), fields.get("none")), ("x=y\u{fffd}", ""));
        assert!(fields.has("c") && !fields.has("e"));
        assert_eq!(segment("a+b%2F"), "a+b/");
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let text = "state=FAILED AND labels.\"a/b\"=\"é+%&#\"";
        assert_eq!(Fields::parse(&format!("f={}", encode(text))).get("f"), text);
    }
}
