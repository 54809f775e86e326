//! Approximate sizes in memory, for limits in bytes. They count what a client or a worker can make large: texts,
//! labels, errors and header fields.

use std::mem::size_of;

use super::{
    Command, HttpEnvelope, Life, NewOperation, Operation, OperationError, Outcome, PayloadInfo,
    State, Submission,
};

/// The size of an entry of a map or a list without its contents.
const ENTRY: usize = 64;

/// The size of two texts in a map.
fn pair((key, value): (&String, &String)) -> usize {
    ENTRY + key.len() + value.len()
}

impl Operation {
    /// Approximate size in memory, in bytes, without payloads.
    pub fn size(&self) -> usize {
        self.submission.size() + self.life.size()
    }
}

impl Life {
    /// The part of [`Operation::size`] that changes with each transition.
    pub fn size(&self) -> usize {
        let texts = self.progress.as_ref().map_or(0, |progress| progress.message.len())
            + self.cancel.as_ref().map_or(0, |cancel| cancel.reason.len());
        let state = match &self.state {
            State::Done { outcome, .. } => outcome.size(),
            State::Queued { .. } | State::Running { .. } | State::Cancelling { .. } => 0,
        };
        let error = self.last_error.as_ref().map_or(0, OperationError::size);
        size_of::<Self>() + texts + state + error
    }
}

impl Submission {
    fn size(&self) -> usize {
        let labels: usize = self.labels.iter().map(pair).sum();
        let callback = self.callback.as_ref().map_or(0, |url| url.as_str().len());
        size_of::<Self>() + labels + callback + self.input.as_ref().map_or(0, PayloadInfo::size)
    }
}

impl Outcome {
    fn size(&self) -> usize {
        match self {
            Self::Succeeded { result, warnings } => {
                result.as_ref().map_or(0, PayloadInfo::size) + errors(warnings)
            }
            Self::PartiallySucceeded { result, errors: failed, warnings } => {
                let result = result.as_ref().map_or(0, PayloadInfo::size);
                result + errors(failed) + errors(warnings)
            }
            Self::Failed { error } | Self::Cancelled { error } => error.size(),
        }
    }
}

fn errors(errors: &[OperationError]) -> usize {
    errors.iter().map(OperationError::size).sum()
}

impl OperationError {
    /// Approximate size in memory, in bytes, with causes.
    pub fn size(&self) -> usize {
        let metadata: usize = self.metadata.iter().map(pair).sum();
        size_of::<Self>() + self.code.len() + self.message.len() + metadata + errors(&self.causes)
    }
}

impl PayloadInfo {
    /// Approximate size in memory, in bytes, without contents.
    pub fn size(&self) -> usize {
        let http = self.http.as_ref().map_or(0, |envelope| envelope.size());
        size_of::<Self>() + self.content_type.len() + self.type_url.len() + http
    }
}

impl HttpEnvelope {
    fn size(&self) -> usize {
        size_of::<Self>() + ENTRY * self.headers.len() + self.size_bytes()
    }
}

impl NewOperation {
    /// Approximate size in memory, in bytes, with the input's contents.
    pub fn size(&self) -> usize {
        let labels: usize = self.labels.iter().map(pair).sum();
        let input = self.input.as_ref().map_or(0, |it| it.info.size() + it.data.len());
        let callback = self.callback.as_ref().map_or(0, |url| url.as_str().len());
        size_of::<Self>() + size_of::<Operation>() + labels + callback + input
    }
}

impl Command {
    /// Approximate size in memory, in bytes.
    pub fn size(&self) -> usize {
        let more = match self {
            Self::Complete { result, warnings, errors: failed, .. } => {
                result.as_ref().map_or(0, |it| it.size()) + errors(warnings) + errors(failed)
            }
            Self::Fail { error, .. } => error.size(),
            Self::Cancel { reason } => reason.len(),
            _ => 0,
        };
        size_of::<Self>() + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Attempt, ErrorSource, Reporter, SessionId};

    fn error(length: usize) -> OperationError {
        OperationError {
            code: "X".to_owned(),
            message: "m".repeat(length),
            status_code: 2,
            metadata: [("key".to_owned(), "v".repeat(length))].into(),
            causes: Vec::new(),
            source: ErrorSource::Application,
        }
    }

    #[test]
    fn what_a_worker_can_make_large_counts() {
        let caused = OperationError { causes: vec![error(10_000)], ..error(10_000) };
        assert!((40_000..41_000).contains(&caused.size()), "{}", caused.size());
        let (errors, warnings) = (vec![error(10_000)], vec![error(10_000); 2]);
        let session = SessionId::from_uuid(uuid::Uuid::from_u128(1));
        let reporter = Reporter { session, attempt: Attempt(1), former: None };
        let command = Command::complete(reporter, None, warnings, errors);
        assert!((60_000..62_000).contains(&command.size()), "{}", command.size());
    }
}
