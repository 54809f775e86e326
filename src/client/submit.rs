//! Submissions, each with a name of its own so that trying again cannot submit twice.

use tonic::Code;
use uuid::Uuid;

use super::{Client, ClientError, Submission, Watch};
use crate::proto::v1::{Operation, SubmitBatchRequest, SubmitRequest, submit_batch_result};

impl Client {
    /// Submits work and returns its operation, which is durable then. Without an idempotency
    /// key it gets a random one, so that trying again cannot submit twice.
    pub async fn submit(
        &self,
        submission: impl Into<Submission>,
    ) -> Result<Operation, ClientError> {
        let mut request = submission.into().into_request()?;
        fill_key(&mut request.idempotency_key);
        self.unary(request, async |mut rpc, request| rpc.submit(request).await).await
    }

    /// Submits work and watches its operation up to its end: the first message has the operation, which is durable by then.
    /// One call, and no look-up, where [`Self::submit`] and [`Self::watch`] take two. Until that message, calls are tried again
    /// as in [`Self::submit`], idempotency key included; from then on it is a watch like any other.
    pub fn submit_and_watch(&self, mut request: SubmitRequest) -> Watch {
        fill_key(&mut request.idempotency_key);
        Watch::of_submission(self.clone(), request)
    }

    /// Submits up to 1,000 pieces of work in one commit. Each has its own result, in order;
    /// idempotency keys are filled in as in [`Self::submit`].
    pub async fn submit_batch(
        &self,
        mut requests: Vec<SubmitRequest>,
    ) -> Result<Vec<Result<Operation, ClientError>>, ClientError> {
        requests.iter_mut().for_each(|request| fill_key(&mut request.idempotency_key));
        let request = SubmitBatchRequest { requests };
        let response =
            self.unary(request, async |mut rpc, request| rpc.submit_batch(request).await).await?;
        let outcomes = response.results.into_iter().map(|result| match result.outcome {
            Some(submit_batch_result::Outcome::Operation(operation)) => Ok(operation),
            Some(submit_batch_result::Outcome::Error(error)) => Err(error.into()),
            None => Err(ClientError::local(Code::Internal, "the server gave no outcome")),
        });
        Ok(outcomes.collect())
    }
}

/// Gives a submission without a name of its own a random one.
pub(super) fn fill_key(key: &mut String) {
    if key.is_empty() {
        *key = Uuid::now_v7().to_string();
    }
}
