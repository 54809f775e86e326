//! A URL's query as names and values (`application/x-www-form-urlencoded`): pure functions of text.

/// A query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The parameter as written.
    pub text: &'a str,
    /// The decoded name; `None` if it is not UTF-8.
    pub name: Option<String>,
    /// The decoded value, empty if there is none; `None` if it is not UTF-8.
    pub value: Option<String>,
}

/// The parameters of a query, in order.
pub fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> + Clone {
    query.split('&').filter(|text| !text.is_empty()).map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Pair { text, name: decoded(name, true), value: decoded(value, true) }
    })
}

/// The decoded segment of a path; `None` if it is not UTF-8.
pub fn segment(text: &str) -> Option<String> {
    decoded(text, false)
}

/// The text without escapes; `None` if it is not UTF-8. A percent sign without two hexadecimal digits is a percent
/// sign, as in WHATWG's URL standard.
fn decoded(text: &str, plus_is_space: bool) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    let digit = |byte: u8| (byte as char).to_digit(16);
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let escaped = match behind {
            [high, low, ..] if first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &behind[2..];
            }
            None if first == b'+' && plus_is_space => bytes.push(b' '),
            None => bytes.push(first),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_strictly() {
        let query = "a=1&&b%20c=d+e&%C3%A4&=x&f=%ff&g=%zz%";
        let found: Vec<_> = pairs(query).map(|pair| (pair.name, pair.value)).collect();
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            (text("a"), text("1")),
            (text("b c"), text("d e")),
            (text("\u{e4}"), text("")),
            (text(""), text("x")),
            (text("f"), None),
            (text("g"), text("%zz%")),
        ];
        assert_eq!(found, expected);
        assert_eq!(segment("a+b%2F"), text("a+b/"));
        assert_eq!(segment("%c3"), None);
    }
}
