//! Errors of operations, as their workers report them.

use crate::operation::OperationError;
use crate::operation::error::ErrorSource;
use crate::proto::v1;
use crate::service::Violations;

/// The longest message of an error, in bytes.
const MAX_MESSAGE: usize = 64 << 10;
/// The maximum size of the text of one field's errors, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// Errors of an operation, as its worker reports them.
pub fn many(
    field: &str,
    messages: Vec<v1::Error>,
    violations: &mut Violations,
) -> Vec<OperationError> {
    let errors = nested_errors(field, messages, OperationError::MAX_DEPTH, violations);
    check_size(field, &errors, violations);
    errors
}

/// An error of an operation, as its worker reports it.
pub fn one(field: &str, message: v1::Error, violations: &mut Violations) -> OperationError {
    let error = nested_error(field, message, OperationError::MAX_DEPTH, violations);
    check_size(field, std::slice::from_ref(&error), violations);
    error
}

/// Errors beyond this number of violations are not decoded, because refusals name far fewer violations.
const MAX_VIOLATIONS: usize = 1_000;

fn nested_errors(
    field: &str,
    messages: Vec<v1::Error>,
    depth: usize,
    violations: &mut Violations,
) -> Vec<OperationError> {
    let mut errors = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let field = format!("{field}[{at}]");
        if violations.count() >= MAX_VIOLATIONS {
            break;
        } else if depth == 0 {
            violations.note(field, "must not be nested more than 8 deep");
        } else {
            errors.push(nested_error(&field, message, depth, violations));
        }
    }
    errors
}

/// An error whose causes may nest one level less than `depth`.
fn nested_error(
    field: &str,
    message: v1::Error,
    depth: usize,
    violations: &mut Violations,
) -> OperationError {
    let mut note = |name: &str, rule: &str| {
        violations.note(format!("{field}{name}"), rule);
    };
    if message.code.is_empty() || message.code.chars().count() > 128 {
        note(".code", "must have from 1 to 128 characters");
    }
    if message.message.len() > MAX_MESSAGE {
        note(".message", "must be at most 64 KiB");
    }
    if message.metadata.len() > 64 {
        note(".metadata", "must have at most 64 entries");
    }
    let status_code = match (message.status_code, u8::try_from(message.status_code)) {
        (0, _) => 2,
        (_, Ok(code @ 1..=16)) => code,
        _ => {
            note(".status_code", "must be from 1 to 16");
            2
        }
    };
    let causes = nested_errors(&format!("{field}.causes"), message.causes, depth - 1, violations);
    OperationError {
        code: message.code,
        message: message.message,
        status_code,
        metadata: message.metadata.into_iter().collect(),
        causes,
        source: ErrorSource::Application,
    }
}

/// Refuses errors that are too many or too large to be stored.
fn check_size(field: &str, errors: &[OperationError], violations: &mut Violations) {
    let (mut count, mut bytes, mut left) = (0, 0, errors.iter().collect::<Vec<_>>());
    while let Some(error) = left.pop() {
        count += 1;
        bytes += error.code.len() + error.message.len();
        bytes += error.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        left.extend(&error.causes);
    }
    if count > OperationError::MAX_ERRORS {
        let rule =
            format!("must be at most {} errors, causes included", OperationError::MAX_ERRORS);
        violations.note(field, rule);
    }
    if bytes > MAX_BYTES {
        violations.note(field, format!("must be at most {MAX_BYTES} bytes of text"));
    }
}
