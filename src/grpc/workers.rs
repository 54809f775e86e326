//! `longrun.v1.Workers`: a stream for each worker, and unary calls for workers without one.

use futures_util::stream;
use tonic::{Request, Response, Status};

use super::status::status;
use super::work_stream::{Conversation, Responses};
use super::{caller, reply, timeout_to_answer};
use crate::proto::v1;
use crate::proto::v1::workers_server::Workers;
use crate::service::{Acquired, Budget, Caller, InProcess, Report, Service, Violations};
use crate::wire::{decode, encode, reports};

/// The gRPC interface for workers.
#[derive(Clone, Debug)]
pub(super) struct WorkersRpc {
    service: Service,
}

impl WorkersRpc {
    pub(super) fn new(service: Service) -> Self {
        Self { service }
    }

    /// Records a report on an acquired attempt, unless there are violations, noted before or in the token.
    async fn report(
        &self,
        caller: &Caller,
        token: &str,
        report: Report,
        found: Violations,
    ) -> Result<(), Status> {
        let mut found = found;
        let token = found.take(self.service.attempt_of("token", token));
        let token = found.settle(token).map_err(status)?;
        self.service.report_attempt(caller, &token, report).await.map_err(status)
    }

    fn acquired(&self, acquired: Acquired) -> v1::AcquiredAttempt {
        let token = self.service.sign_attempt(&acquired.token);
        let trace = self.service.spans().context_of_attempt(&acquired.operation);
        let message = reports::acquired(&acquired, token, trace);
        v1::AcquiredAttempt { input: acquired.input.map(encode::exact_payload), ..message }
    }
}

#[tonic::async_trait]
impl Workers for WorkersRpc {
    type WorkStream = Responses;

    async fn work(
        &self,
        request: Request<tonic::Streaming<v1::WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let caller = caller(&request)?;
        let service = self.service.clone();
        let in_process = request.extensions().get::<InProcess>().is_some();
        let requests = request.into_inner();
        // The headers are sent before the hello arrives, because some clients wait for them.
        let conversation = stream::once(async move {
            match Conversation::open(service, &caller, in_process, requests).await {
                Ok(conversation) => conversation.into_stream(),
                Err(error) => Box::pin(tokio_stream::once(Err(error))),
            }
        });
        Ok(Response::new(Box::pin(futures_util::StreamExt::flatten(conversation))))
    }

    async fn acquire(
        &self,
        request: Request<v1::AcquireRequest>,
    ) -> Result<Response<v1::AcquireResponse>, Status> {
        let caller = caller(&request)?;
        let patience = timeout_to_answer(request.metadata());
        let mut found = Violations::default();
        let acquire = reports::acquire(&request.into_inner(), &mut found);
        let mut acquire = found.settle(acquire).map_err(status)?;
        acquire.wait = patience.map_or(acquire.wait, |patience| patience.min(acquire.wait));
        let acquired = self.service.acquire(&caller, acquire).await.map_err(status)?;
        let mut budget = Budget::new(self.service.limits().page_bytes);
        let acquired = self.service.with_inputs(&caller, acquired, &mut budget).await;
        let acquired = acquired.map_err(status)?.into_iter();
        let attempts = acquired.map(|one| self.acquired(one));
        Ok(reply(v1::AcquireResponse { attempts: attempts.collect() }))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RenewRequest { token, progress } = request.into_inner();
        let token = self.service.attempt_of("token", &token).map_err(status)?;
        let progress = progress.map(|progress| decode::progress(progress, self.service.now()));
        let renewed = self.service.renew_attempt(&caller, &token, progress).await;
        Ok(reply(reports::renewed(&renewed.map_err(status)?, &token)))
    }

    async fn complete(
        &self,
        request: Request<v1::CompleteRequest>,
    ) -> Result<Response<v1::CompleteResponse>, Status> {
        let caller = caller(&request)?;
        let v1::CompleteRequest { token, result, warnings, errors } = request.into_inner();
        let mut found = Violations::default();
        let most = self.service.limits().max_message_payload_bytes();
        let (result, warnings, errors) =
            reports::success("", result, (warnings, errors), most, &mut found);
        let report = Report::Complete { result, contents: None, warnings, errors };
        self.report(&caller, &token, report, found).await?;
        Ok(reply(v1::CompleteResponse {}))
    }

    async fn fail(
        &self,
        request: Request<v1::FailRequest>,
    ) -> Result<Response<v1::FailResponse>, Status> {
        let caller = caller(&request)?;
        let v1::FailRequest { token, error, r#final: is_final, retry_delay } = request.into_inner();
        let mut found = Violations::default();
        let report = reports::failure("", error, is_final, retry_delay, &mut found);
        self.report(&caller, &token, report, found).await?;
        Ok(reply(v1::FailResponse {}))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ReleaseRequest { token } = request.into_inner();
        self.report(&caller, &token, Report::Release, Violations::default()).await?;
        Ok(reply(v1::ReleaseResponse {}))
    }

    async fn add_log(
        &self,
        request: Request<v1::AddLogRequest>,
    ) -> Result<Response<v1::AddLogResponse>, Status> {
        let caller = caller(&request)?;
        let v1::AddLogRequest { token, lines } = request.into_inner();
        let mut found = Violations::default();
        let report = reports::log("", lines, &mut found);
        self.report(&caller, &token, report, found).await?;
        Ok(reply(v1::AddLogResponse {}))
    }
}
