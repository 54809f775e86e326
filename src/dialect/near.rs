//! Near misses: the known word that an unknown one was probably meant to be.

/// How similar words must be, from 0 to 1.
const ALIKE: f64 = 0.8;

/// The known word that is most similar to `word`, if one is similar enough.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let alike = |known: &'a str| (strsim::jaro_winkler(&word, &known.to_lowercase()), known);
    let alike = known.into_iter().map(alike).filter(|(likeness, _)| *likeness > ALIKE);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

/// `; did you mean …?`, or empty.
pub(crate) fn question<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_taken_for_what_it_is_like() {
        let known = ["status", "state", "when", "queue_timeout", "FAILED", "CANCELLED"];
        for (word, meant) in [
            ("statsu", Some("status")),
            ("stat", Some("state")),
            ("wehn", Some("when")),
            ("queue-timeout", Some("queue_timeout")),
            ("cancelled", Some("CANCELLED")),
            ("CANCELED", Some("CANCELLED")),
            ("paths", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
