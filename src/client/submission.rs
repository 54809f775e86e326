//! Builds a submission step by step.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tonic::Code;

use super::ClientError;
use crate::proto::v1::payload::Content;
use crate::proto::v1::{Payload, RetryPolicy, Settings, SubmitRequest};

/// A submission: a kind, and every value that is not the default. See [`Client::submit`](super::Client::submit).
///
/// ```
/// use std::time::Duration;
///
/// use longrun::client::Submission;
///
/// let submission = Submission::new("report.build")
///     .json(&serde_json::json!({ "month": "2026-03" }))
///     .label("team", "maps")
///     .idempotency_key("report-2026-03")
///     .deadline(Duration::from_secs(3600))
///     .max_attempts(3);
/// # let request = submission.into_request().unwrap();
/// # assert_eq!((request.kind.as_str(), request.labels["team"].as_str()), ("report.build", "maps"));
/// # assert_eq!(request.settings.unwrap().retry_policy.unwrap().max_attempts, 3);
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is submitted before `Client::submit`"]
pub struct Submission {
    request: SubmitRequest,
    /// Why it cannot be submitted; `Client::submit` returns it.
    wrong: Option<String>,
}

impl Submission {
    /// Work of a kind, without an input and with the default settings.
    pub fn new(kind: impl Into<String>) -> Self {
        SubmitRequest { kind: kind.into(), ..Default::default() }.into()
    }

    /// The input as JSON. If it cannot be written as JSON, `Client::submit` fails.
    pub fn json(mut self, input: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(input) {
            Ok(json) => self.bytes("application/json", json),
            Err(error) => {
                self.wrong = Some(format!("the input cannot be written as JSON: {error}"));
                self
            }
        }
    }

    /// The input, as text.
    pub fn text(self, input: impl Into<String>) -> Self {
        self.input(Payload { content: Some(Content::Text(input.into())), ..Default::default() })
    }

    /// The input, as bytes of a media type.
    pub fn bytes(self, content_type: impl Into<String>, input: impl Into<Bytes>) -> Self {
        let (content_type, content) = (content_type.into(), Some(Content::Data(input.into())));
        self.input(Payload { content_type, content, ..Default::default() })
    }

    /// The input, in any form.
    pub fn input(mut self, input: Payload) -> Self {
        self.request.input = Some(input);
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.labels.insert(key.into(), value.into());
        self
    }

    /// The name of this submission: submitting again with the same key and content returns the same operation. Random
    /// by default.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.request.idempotency_key = key.into();
        self
    }

    /// Notifies this URL of the end by a signed POST, as a webhook.
    pub fn callback_url(mut self, url: impl Into<String>) -> Self {
        self.request.callback_url = url.into();
        self
    }

    /// The name of the batch that gets the operation as a child.
    pub fn parent(mut self, batch: impl Into<String>) -> Self {
        self.request.parent = batch.into();
        self
    }

    /// The least time until the start.
    pub fn start_in(mut self, wait: Duration) -> Self {
        let wait = self.duration("start_in", wait);
        self.request.start_in = Some(wait);
        self
    }

    /// The earliest start.
    pub fn start_at(mut self, time: SystemTime) -> Self {
        self.request.start_at = Some(time.into());
        self
    }

    /// From 0, the default, to 100: within a kind, higher ones start first.
    pub fn priority(mut self, priority: u8) -> Self {
        self.settings().priority = priority.into();
        self
    }

    /// The longest time from the start time until a worker starts it.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        let limit = self.duration("queue_timeout", limit);
        self.settings().queue_timeout = Some(limit);
        self
    }

    /// The longest duration of one attempt.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        let limit = self.duration("attempt_timeout", limit);
        self.settings().attempt_timeout = Some(limit);
        self
    }

    /// The longest time from submission to the end.
    pub fn deadline(mut self, limit: Duration) -> Self {
        let limit = self.duration("deadline", limit);
        self.settings().deadline = Some(limit);
        self
    }

    /// How long a worker has to stop after a cancel, 30 s by default.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        let grace = self.duration("cancel_grace", grace);
        self.settings().cancel_grace = Some(grace);
        self
    }

    /// How long the record is kept after the operation is done; the server has a default.
    pub fn retention(mut self, time: Duration) -> Self {
        let time = self.duration("retention", time);
        self.settings().retention = Some(time);
        self
    }

    /// The maximum number of attempts, including the first: from 1 to 1,000, 5 by default.
    pub fn max_attempts(mut self, most: u16) -> Self {
        self.settings().retry_policy.get_or_insert_default().max_attempts = most.into();
        self
    }

    /// How often and when the operation is retried.
    pub fn retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.settings().retry_policy = Some(policy);
        self
    }

    /// The request message.
    pub fn into_request(self) -> Result<SubmitRequest, ClientError> {
        match self.wrong {
            None => Ok(self.request),
            Some(wrong) => Err(ClientError::local(Code::InvalidArgument, wrong)),
        }
    }

    fn settings(&mut self) -> &mut Settings {
        self.request.settings.get_or_insert_default()
    }

    fn duration(&mut self, name: &str, duration: Duration) -> prost_types::Duration {
        duration.try_into().unwrap_or_else(|_| {
            self.wrong = Some(format!("{name} is too long"));
            prost_types::Duration::default()
        })
    }
}

impl From<SubmitRequest> for Submission {
    fn from(request: SubmitRequest) -> Self {
        Self { request, wrong: None }
    }
}
