//! The kind of batches, which is reserved for the server.

use super::ServiceError;
use crate::operation::batch::KIND;
use crate::operation::{Kind, NewOperation};

/// Refuses kinds that only the server executes.
pub(super) fn not_of_batches(field: &str, kinds: &[Kind]) -> Result<(), ServiceError> {
    if kinds.iter().any(Kind::is_of_batches) {
        let rule = format!("must not have {KIND}, which the server itself executes");
        return Err(ServiceError::invalid_field(field, rule));
    }
    Ok(())
}

/// The rule that an ordinary submission with the kind of batches breaks.
pub fn batch_kind_rule() -> String {
    format!("must not be {KIND}: SubmitBatch with `batch` makes one")
}

/// Refuses a batch that is submitted as an ordinary operation. `field` is the input's path.
pub(super) fn is_made_as_a_batch(new: &NewOperation, field: &str) -> Result<(), ServiceError> {
    if new.kind.is_of_batches() && new.retry_of.is_none() && new.children.is_none() {
        return Err(ServiceError::invalid_field(field.replace("input", "kind"), batch_kind_rule()));
    }
    Ok(())
}
