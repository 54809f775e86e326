//! The violations of one message. A refusal reports all of them at once, so that a client corrects its message
//! once: everything that needs no state is decoded and checked in one stage, and noted here.

use super::error::{Reason, ServiceError, Violation};

/// Most violations that a refusal names.
const MAX_NAMED: usize = 16;
/// Most bytes of violations in a message.
const MAX_MESSAGE: usize = 1_500;

/// The violations of one message, gathered.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    /// The first of them, as many as a refusal names.
    named: Vec<Violation>,
    /// How many there are in all.
    count: usize,
    is_too_large: bool,
    /// Why the message is refused whatever its fields are.
    other: Option<ServiceError>,
}

impl Violations {
    /// `field` breaks `rule`.
    pub fn note(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(Violation::new(field, rule));
        }
    }

    /// `field` breaks `rule` by its size, which programs can tell from other violations.
    pub fn too_large(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.is_too_large = true;
        self.note(field, rule);
    }

    /// What was decoded; notes what is wrong with it, if something is.
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

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.other.is_none()
    }

    /// How many violations there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The same under other names of fields: those that the client knows.
    pub fn renamed(mut self, rename: impl Fn(&mut String)) -> Self {
        self.named.iter_mut().for_each(|violation| rename(&mut violation.field));
        self
    }

    /// Refuses the message if something is wrong with it.
    pub fn check(self) -> Result<(), ServiceError> {
        if self.is_empty() { Ok(()) } else { Err(self.refusal()) }
    }

    /// What was decoded of the message; refuses it if something is wrong with it. Where `decoded` is `None`, something has
    /// to have been noted.
    pub fn settle<T>(self, decoded: Option<T>) -> Result<T, ServiceError> {
        match decoded {
            Some(decoded) if self.is_empty() => Ok(decoded),
            _ => Err(self.refusal()),
        }
    }

    /// The refusal: it names the first 16 violations, and in its message as many of them as are short enough; it says how
    /// many more there are. What is wrong with fields comes before what else is wrong.
    pub fn refusal(self) -> ServiceError {
        let Self { named, count, is_too_large, other } = self;
        if let (true, Some(other)) = (named.is_empty(), other) {
            return other;
        }
        let mut message = String::new();
        let mut told = 0;
        for Violation { field, description } in &named {
            let rule = format!("{field} {description}");
            if told > 0 && message.len() + rule.len() > MAX_MESSAGE {
                break;
            }
            message.push_str(if told > 0 { "; " } else { "" });
            message.push_str(&rule);
            told += 1;
        }
        if count > told {
            message.push_str(&format!("; and {} more", count - told));
        }
        let reason = if is_too_large { Reason::PayloadTooLarge } else { Reason::InvalidArgument };
        ServiceError { violations: named, ..ServiceError::new(reason, message) }
    }
}
