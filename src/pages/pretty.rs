//! JSON for people: the original text with line breaks and indents. Numbers, keys and their order do not change, as
//! they would in a parsed value.

use serde::de::IgnoredAny;

/// The maximum nesting that is indented.
const MAX_DEPTH: usize = 64;

/// The text with indents, if it is JSON.
pub(super) fn json(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut shown = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if in_string {
            in_string = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            shown.push(c);
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                shown.push(c);
            }
            ':' => shown.push_str(": "),
            ',' => {
                shown.push(c);
                new_line(&mut shown, depth);
            }
            '{' | '[' => {
                shown.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => shown.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut shown, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut shown, depth);
                shown.push(c);
            }
            c if c.is_ascii_whitespace() => {}
            c => shown.push(c),
        }
    }
    Some(shown)
}

fn new_line(shown: &mut String, depth: usize) {
    shown.push('\n');
    shown.push_str(&"  ".repeat(depth.min(MAX_DEPTH)));
}

/// A log line without the codes that would colour a terminal.
pub(super) fn without_colours(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once("\x1b[") {
        shown.push_str(before);
        let end = behind.find(|c: char| c.is_ascii_alphabetic() || c == '~');
        rest = end.map_or("", |end| &behind[end + 1..]);
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_words() {
        let text = r#"{"b":1.10,"a":[ ],"c" : [12345678901234567890, {"x":"a\"{,}"}]}"#;
        let expected = "{\n  \"b\": 1.10,\n  \"a\": [],\n  \"c\": [\n    12345678901234567890,\n    {\n      \
                        \"x\": \"a\\\"{,}\"\n    }\n  ]\n}";
        assert_eq!(json(text).unwrap(), expected);
        assert_eq!(json(" 1 ").unwrap(), "1");
        assert_eq!(json("{"), None);
    }

    #[test]
    fn colours_are_left_out() {
        assert_eq!(without_colours("a\x1b[1;31mb\x1b[0mc\x1b["), "abc");
    }
}
