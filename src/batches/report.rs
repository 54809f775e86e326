//! Reports of a batch's end.

use std::collections::BTreeMap;

use crate::operation::batch::Ending;
use crate::operation::{
    BatchRule, ChildCounts, ErrorSource, OperationError, Outcome, Payload, PayloadForm, State,
    StateName,
};
use crate::service::{Document, Report};

/// The maximum number of children that a partial success names, and that a failure names.
const NAMED_OF_PART: usize = 100;
const NAMED_OF_FAILURE: usize = 10;
/// The maximum length of a child's own error, in characters.
const MOST_CHARS: usize = 300;

/// gRPC's codes `ABORTED`, `FAILED_PRECONDITION` and `INVALID_ARGUMENT`.
const ABORTED: u8 = 10;
const FAILED_PRECONDITION: u8 = 9;
const INVALID_ARGUMENT: u8 = 3;

/// How many unsuccessful children the end names.
pub(super) fn most_named(ending: Ending, counts: &ChildCounts) -> usize {
    let most = match ending {
        Ending::Succeeded => 0,
        Ending::PartiallySucceeded => NAMED_OF_PART,
        Ending::Failed => NAMED_OF_FAILURE,
    };
    let all = counts.unsuccessful() + counts.of(StateName::PartiallySucceeded);
    most.min(usize::try_from(all).unwrap_or(usize::MAX))
}

/// The end by the rule. `named` are some of the unsuccessful children.
pub(super) fn ended(
    ending: Ending,
    rule: &BatchRule,
    counts: &ChildCounts,
    named: &[Document],
) -> Report {
    let mut errors: Vec<OperationError> = named.iter().filter_map(of_child).collect();
    if ending == Ending::Failed {
        let message = format!("by the rule {}: {}", rule.in_words(), counts.in_words());
        let error = OperationError { causes: errors, ..error("BATCH_FAILED", ABORTED, message) };
        return failed(error);
    }
    if ending == Ending::PartiallySucceeded && errors.is_empty() {
        // The unsuccessful children were deleted.
        errors.push(error("CHILD_FAILED", ABORTED, counts.in_words()));
    }
    if ending == Ending::Succeeded {
        errors.clear();
    }
    let result = Payload::new(PayloadForm::Json, "", counts.to_json().to_string().into());
    Report::Complete { result: Some(result), contents: None, warnings: Vec::new(), errors }
}

/// The report if children to retry are gone.
pub(super) fn children_gone(rule: &BatchRule, counts: &ChildCounts) -> Report {
    let missing = rule.expected_children.saturating_sub(counts.total());
    let message = format!(
        "{missing} of {} children that should be retried had been deleted: submit them again",
        rule.expected_children
    );
    failed(error("CHILDREN_GONE", FAILED_PRECONDITION, message))
}

/// The report if the input is not a rule.
pub(super) fn without_a_rule() -> Report {
    failed(error(
        "INVALID_INPUT",
        INVALID_ARGUMENT,
        "the input is not the rule of a batch".to_owned(),
    ))
}

fn failed(error: OperationError) -> Report {
    Report::Fail { error, is_final: true, retry_delay: None }
}

fn error(code: &str, status_code: u8, message: String) -> OperationError {
    OperationError {
        code: code.to_owned(),
        message,
        status_code,
        metadata: BTreeMap::new(),
        causes: Vec::new(),
        source: ErrorSource::Application,
    }
}

/// A child's error, shortened.
fn of_child(document: &Document) -> Option<OperationError> {
    let operation = &document.operation;
    let State::Done { outcome, .. } = &operation.life.state else { return None };
    let (code, why) = match outcome {
        Outcome::Succeeded { .. } => return None,
        Outcome::PartiallySucceeded { errors, .. } => ("CHILD_PARTIALLY_SUCCEEDED", errors.first()),
        Outcome::Failed { error } => ("CHILD_FAILED", Some(error)),
        Outcome::Cancelled { error } => ("CHILD_CANCELLED", Some(error)),
    };
    let name = operation.id().name();
    let mut message =
        why.map_or_else(|| name.clone(), |why| format!("{name}: {}: {}", why.code, why.message));
    if let Some((end, _)) = message.char_indices().nth(MOST_CHARS) {
        message.truncate(end);
        message.push('…');
    }
    let status_code = why.map_or(ABORTED, |why| why.status_code);
    let metadata = BTreeMap::from([("operation".to_owned(), name)]);
    Some(OperationError { metadata, ..error(code, status_code, message) })
}
