//! The violations of one message. A refusal reports all of them at once, so that a client corrects its message once:
//! everything that needs no state is decoded and checked in one stage, and noted here.

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
    /// The number of all violations.
    count: usize,
    is_too_large: bool,
    /// Another reason to refuse the message, whatever its fields are.
    other: Option<ServiceError>,
}

impl Violations {
    /// Notes that `field` breaks `rule`.
    pub fn note(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(Violation::new(field, rule));
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
        self.named.iter_mut().for_each(|violation| rename(&mut violation.field));
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

    /// The refusal: it has the first 16 violations, and names as many of them in its message as fit, with the number of
    /// the others. Violations of fields come before other reasons.
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
