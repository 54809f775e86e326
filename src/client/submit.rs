//! Submissions, each with an idempotency key so that a retry cannot submit twice.

use tonic::Code;
use uuid::Uuid;

use super::{Client, ClientError, Submission, Watch};
use crate::proto::v1::{
    Batch, Operation, SubmitBatchRequest, SubmitBatchResponse, SubmitRequest, submit_batch_result,
};

impl Client {
    /// Submits work and returns its operation, which is then durable. A missing idempotency key is replaced by a random
    /// one, so that a retry cannot submit twice.
    pub async fn submit(
        &self,
        submission: impl Into<Submission>,
    ) -> Result<Operation, ClientError> {
        let mut request = submission.into().into_request()?;
        fill_key(&mut request.idempotency_key);
        self.unary(request, async |mut rpc, request| rpc.submit(request).await).await
    }

    /// Submits work and watches its operation to its end: the first message has the operation, which is then durable.
    /// Takes one call, where [`Self::submit`] and [`Self::watch`] take two. Until that message, the call is retried as
    /// in [`Self::submit`], idempotency key included; from then on it is a watch like any other.
    pub fn submit_and_watch(&self, mut request: SubmitRequest) -> Watch {
        fill_key(&mut request.idempotency_key);
        Watch::of_submission(self.clone(), request)
    }

    /// Submits up to 1,000 operations in one commit. Each has its own result, in order; idempotency keys are filled in
    /// as in [`Self::submit`].
    pub async fn submit_batch(
        &self,
        mut requests: Vec<SubmitRequest>,
    ) -> Result<Vec<Result<Operation, ClientError>>, ClientError> {
        requests.iter_mut().for_each(|request| fill_key(&mut request.idempotency_key));
        let request = SubmitBatchRequest { requests, batch: None };
        Ok(outcomes(self.submit_many(request).await?))
    }

    /// Submits a batch: an operation with these as its children, at most 1,000, in one commit, all or none. Add more by
    /// [`Self::submit_batch`] with the batch's name as their `parent`. A missing idempotency key is replaced by a
    /// random one. A child that was deleted since an earlier call with the same key is an error in its place.
    pub async fn submit_children(
        &self,
        mut batch: Batch,
        requests: Vec<SubmitRequest>,
    ) -> Result<(Operation, Vec<Result<Operation, ClientError>>), ClientError> {
        fill_key(&mut batch.idempotency_key);
        let request = SubmitBatchRequest { requests, batch: Some(batch) };
        let mut response = self.submit_many(request).await?;
        let batch = response.batch.take();
        let missing = || ClientError::local(Code::Internal, "the server returned no batch");
        Ok((batch.ok_or_else(missing)?, outcomes(response)))
    }

    async fn submit_many(
        &self,
        request: SubmitBatchRequest,
    ) -> Result<SubmitBatchResponse, ClientError> {
        self.unary(request, async |mut rpc, request| rpc.submit_batch(request).await).await
    }
}

fn outcomes(response: SubmitBatchResponse) -> Vec<Result<Operation, ClientError>> {
    let outcomes = response.results.into_iter().map(|result| match result.outcome {
        Some(submit_batch_result::Outcome::Operation(operation)) => Ok(operation),
        Some(submit_batch_result::Outcome::Error(error)) => Err(error.into()),
        None => Err(ClientError::local(Code::Internal, "the server returned no outcome")),
    });
    outcomes.collect()
}

/// Gives a submission without a key a random one.
pub(super) fn fill_key(key: &mut String) {
    if key.is_empty() {
        *key = Uuid::now_v7().to_string();
    }
}
