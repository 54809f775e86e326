//! An operator's view of another tenant's operation: its existence and state, not its contents.

use std::sync::Arc;

use super::{Operation, OperationError, Outcome, PayloadInfo, State};

impl Operation {
    /// The operation without the tenant's texts: messages of errors and of progress, the reason of a cancel, the
    /// idempotency key, recorded header fields. Labels and error codes stay.
    #[must_use]
    pub fn outline(mut self) -> Self {
        let submission = Arc::make_mut(&mut self.submission);
        submission.idempotency = None;
        submission.input.iter_mut().for_each(bare);
        let life = &mut self.life;
        if let Some(progress) = &mut life.progress {
            progress.message.clear();
        }
        if let Some(cancel) = &mut life.cancel {
            cancel.reason.clear();
        }
        if let Some(error) = &mut life.last_error {
            silence(error);
        }
        if let State::Done { outcome, .. } = &mut life.state {
            match outcome {
                Outcome::Succeeded { result, warnings } => {
                    result.iter_mut().for_each(bare);
                    warnings.iter_mut().for_each(silence);
                }
                Outcome::PartiallySucceeded { result, errors, warnings } => {
                    result.iter_mut().for_each(bare);
                    errors.iter_mut().chain(warnings).for_each(silence);
                }
                Outcome::Failed { error } | Outcome::Cancelled { error } => silence(error),
            }
        }
        self
    }
}

fn bare(payload: &mut PayloadInfo) {
    payload.http = None;
}

fn silence(error: &mut OperationError) {
    error.message.clear();
    error.metadata.clear();
    error.causes.clear();
}
