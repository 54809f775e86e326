//! The violations of one message. A refusal reports all of them at once, so that a client corrects its message once:
//! everything that needs no state is decoded and checked in one stage, and noted here. Items of a list that break the same
//! rule are one part of the refusal's message.

use super::error::{Reason, ServiceError, Violation};

/// The maximum number of violations that a refusal names.
const MAX_NAMED: usize = 16;
/// The maximum size of the violations in the refusal's message, in bytes.
const MAX_MESSAGE: usize = 1_500;

/// The violations of one message, gathered.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    /// The first violations, as many as a refusal names.
    named: Vec<Violation>,
    /// The first broken rules, as many as a refusal names.
    broken: Vec<Broken>,
    /// The number of all violations.
    count: usize,
    is_too_large: bool,
    /// Another reason to refuse the message, whatever its fields are.
    other: Option<ServiceError>,
}

/// A rule that one field breaks, or the same field of several items of a list.
#[derive(Clone, Debug)]
struct Broken {
    place: String,
    first: Violation,
    count: usize,
}

impl Violations {
    /// Notes that `field` breaks `rule`.
    pub fn note(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        let violation = Violation::new(field, rule);
        self.count += 1;
        self.note_rule(&violation);
        if self.named.len() < MAX_NAMED {
            self.named.push(violation);
        }
    }

    fn note_rule(&mut self, violation: &Violation) {
        let place = place(&violation.field);
        let is_same = |known: &Broken| {
            known.place == place && known.first.description == violation.description
        };
        match self.broken.iter().position(is_same) {
            Some(at) => self.broken[at].count += 1,
            None if self.broken.len() < MAX_NAMED => {
                self.broken.push(Broken { place, first: violation.clone(), count: 1 });
            }
            None => {}
        }
    }

    /// Notes that `field` breaks `rule` by its size, which programs can distinguish from other violations.
    pub fn too_large(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.is_too_large = true;
        self.note(field, rule);
    }

    /// Returns the decoded value; notes the error if there is one.
    pub fn take<T>(&mut self, decoded: Result<T, impl Into<ServiceError>>) -> Option<T> {
        decoded.map_err(|error| self.add(error.into())).ok()
    }

    fn add(&mut self, error: ServiceError) {
        if error.violations.is_empty() {
            self.other.get_or_insert(error);
            return;
        }
        self.is_too_large |= error.reason == Reason::PayloadTooLarge;
        for Violation { field, description } in error.violations {
            self.note(field, description);
        }
    }

    /// Whether there are no violations.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.other.is_none()
    }

    /// The number of violations.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Renames the fields to the names that the client knows.
    pub fn renamed(mut self, rename: impl Fn(&mut String)) -> Self {
        let first = self.broken.iter_mut().map(|broken| &mut broken.first);
        self.named.iter_mut().chain(first).for_each(|violation| rename(&mut violation.field));
        self
    }

    /// Refuses the message if there are violations.
    pub fn check(self) -> Result<(), ServiceError> {
        if self.is_empty() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Returns the decoded message, or refuses it if there are violations. If `decoded` is `None`, a violation must
    /// have been noted.
    pub fn settle<T>(self, decoded: Option<T>) -> Result<T, ServiceError> {
        match decoded {
            Some(decoded) if self.is_empty() => Ok(decoded),
            _ => Err(self.refusal()),
        }
    }

    /// The refusal: it has the first 16 violations, and names as many broken rules in its message as fit, with the number
    /// of the other violations. Violations of fields come before other reasons.
    pub fn refusal(self) -> ServiceError {
        let Self { named, broken, count, is_too_large, other } = self;
        if let (true, Some(other)) = (named.is_empty(), other) {
            return other;
        }
        let mut message = String::new();
        let mut told = 0;
        for Broken { first: Violation { field, description }, count, .. } in broken {
            let rule = match count {
                1 => format!("{field} {description}"),
                2 => format!("{field} {description} (1 other breaks the same rule)"),
                _ => format!("{field} {description} ({} others break the same rule)", count - 1),
            };
            if told > 0 && message.len() + rule.len() > MAX_MESSAGE {
                break;
            }
            message.push_str(if told > 0 { "; " } else { "" });
            message.push_str(&rule);
            told += count;
        }
        if count > told {
            message.push_str(&format!("; and {} more", count - told));
        }
        let reason = if is_too_large { Reason::PayloadTooLarge } else { Reason::InvalidArgument };
        ServiceError { violations: named, ..ServiceError::new(reason, message) }
    }
}

/// The field without the numbers of its indexes: `requests[3].kind` is `requests[].kind`.
fn place(field: &str) -> String {
    let mut parts = field.split('[');
    let mut place = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        place.push('[');
        place.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_break_the_same_rule_are_told_once() {
        let mut found = Violations::default();
        for at in 0..40 {
            found.note(format!("requests[{at}].kind"), "must be a kind");
        }
        found.note("requests[7].labels.a", "must be short");
        found.note("requests[7].labels.b", "must be short");
        let refused = found.refusal();
        assert_eq!(refused.violations.len(), MAX_NAMED);
        assert_eq!(
            refused.message,
            "requests[0].kind must be a kind (39 others break the same rule); requests[7].labels.a must be short; \
             requests[7].labels.b must be short"
        );
    }
}
