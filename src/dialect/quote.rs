//! The filter `quoted`, for values within a filter of operations.

/// The text as a string of the filter language, in which no character has a special meaning.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '*') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::filter::Filter;

    #[test]
    fn a_quoted_value_means_itself() {
        for value in ["a", "a\" OR done", "*", "a\\", "\\\" ) NOT (", "", "'", "\u{e9}*"] {
            let filter = format!("labels.x = {}", quoted(value));
            let parsed = format!("{:?}", Filter::parse(&filter).unwrap());
            assert!(parsed.contains(&format!("Exact({value:?})")), "{filter}: {parsed}");
        }
    }
}
