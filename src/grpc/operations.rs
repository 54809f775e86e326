//! `longrun.v1.Operations`.

use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status};

use super::messages::{MessageStream, chunks, described, fed, watched};
use super::status::status;
use super::{caller, reply, streamed, timeout_to_answer, wait_time};
use crate::operation::{NewOperation, Revision};
use crate::proto::v1::operations_server::Operations;
use crate::proto::{Encoded, v1};
use crate::service::{
    Action, Document, FeedStart, HistoryRequest, ListParameters, Service, ServiceError, View,
    Violations, WatchOptions, parse_filter,
};
use crate::wire::encodings::Encodings;
use crate::wire::streams::FeedKey;
use crate::wire::{batches, decode, encode, keys, size, standing};

/// The gRPC interface for operations.
#[derive(Clone, Debug)]
pub(super) struct OperationsRpc {
    service: Service,
    encodings: Encodings<FeedKey>,
}

impl OperationsRpc {
    pub(super) fn new(service: Service) -> Self {
        Self { service, encodings: Encodings::default() }
    }

    fn submission(&self, request: v1::SubmitRequest) -> Result<NewOperation, Status> {
        let mut found = Violations::default();
        let new = decode::new_operation(request, "", self.service.limits(), &mut found);
        found.settle(new).map_err(status)
    }
}

#[tonic::async_trait]
impl Operations for OperationsRpc {
    type SubmitAndWatchStream = MessageStream<Encoded<v1::WatchOperationResponse>>;
    type WatchOperationStream = MessageStream<Encoded<v1::WatchOperationResponse>>;
    type WatchOperationsStream = MessageStream<Encoded<v1::WatchOperationsResponse>>;
    type ReadResultStream = MessageStream<v1::ReadResultResponse>;
    type ReadInputStream = MessageStream<v1::ReadInputResponse>;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = caller(&request)?;
        let new = self.submission(request.into_inner())?;
        let submitted = self.service.submit(&caller, new).await;
        Ok(reply(encode::operation(&submitted.map_err(status)?.document)))
    }

    async fn submit_and_watch(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<Self::SubmitAndWatchStream>, Status> {
        let caller = caller(&request)?;
        let timeout = timeout_to_answer(request.metadata());
        let new = self.submission(request.into_inner())?;
        let watch = self.service.submit_and_watch(&caller, new, timeout).await;
        Ok(streamed(watched(watch.map_err(status)?)))
    }

    async fn submit_batch(
        &self,
        request: Request<v1::SubmitBatchRequest>,
    ) -> Result<Response<v1::SubmitBatchResponse>, Status> {
        let caller = caller(&request)?;
        let asked = batches::read(request.into_inner(), self.service.limits()).map_err(status)?;
        let stored = self.service.submit_many(&caller, asked).await.map_err(status)?;
        Ok(reply(batches::response(&stored, self.service.limits().page_bytes)))
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let view = found.take(decode::view(request.view, View::Full));
        let (name, view) = found.settle(name.zip(view)).map_err(status)?;
        answer(self.service.get(&caller, &name, view).await)
    }

    async fn wait_operation(
        &self,
        request: Request<v1::WaitOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = caller(&request)?;
        let (metadata, _, request) = request.into_parts();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let view = found.take(decode::view(request.view, View::Result));
        let timeout = found.take(wait_time(&metadata, request.timeout.as_ref()));
        let decoded = found.settle(name.zip(view).zip(timeout));
        let ((name, view), timeout) = decoded.map_err(status)?;
        answer(self.service.wait(&caller, &name, timeout, view).await)
    }

    async fn watch_operation(
        &self,
        request: Request<v1::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let caller = caller(&request)?;
        let timeout = timeout_to_answer(request.metadata());
        let request = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let view = found.take(decode::view(request.view, View::Result));
        let after = request.after_revision.map(|after| decode::offset("after_revision", after));
        let after = found.take(after.transpose());
        let ((name, view), after) = found.settle(name.zip(view).zip(after)).map_err(status)?;
        let after = after.map(Revision);
        let include_progress = request.include_progress;
        let options = WatchOptions { after, include_progress, view, timeout };
        let watch = self.service.watch(&caller, &name, options).await.map_err(status)?;
        Ok(streamed(watched(watch)))
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut found = Violations::default();
        let view = found.take(decode::view(request.view, View::Basic));
        let whose = found.take(keys::whose(&request.tenant));
        let parameters = ListParameters {
            whose: whose.unwrap_or_default(),
            page_size: request.page_size,
            page_token: &request.page_token,
            filter: &request.filter,
            order_by: &request.order_by,
            within: &[],
        };
        let asked = parameters.read(&caller, &mut found);
        let (asked, view) = found.settle(asked.zip(view)).map_err(status)?;
        let page = self.service.list(&caller, asked, view, size::operation).await;
        let page = page.map_err(status)?;
        Ok(reply(v1::ListOperationsResponse {
            operations: page.entries.iter().map(encode::operation).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn watch_operations(
        &self,
        request: Request<v1::WatchOperationsRequest>,
    ) -> Result<Response<Self::WatchOperationsStream>, Status> {
        let caller = caller(&request)?;
        let timeout = timeout_to_answer(request.metadata());
        let request = request.into_inner();
        let filter = parse_filter(&request.filter).map_err(status)?;
        let start = match request.after_position.as_str() {
            "" if request.skip_current => FeedStart::Now,
            "" => FeedStart::Current,
            position => FeedStart::After(position),
        };
        let include_progress = request.include_progress;
        let feed = self.service.watch_all(&caller, filter, include_progress, start, timeout);
        Ok(streamed(fed(feed.map_err(status)?, self.encodings.clone())))
    }

    async fn cancel_operation(
        &self,
        request: Request<v1::CancelOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let reason = found.take(decode::reason("reason", request.reason));
        let (name, reason) = found.settle(name.zip(reason)).map_err(status)?;
        answer(self.service.cancel(&caller, &name, reason).await)
    }

    async fn run_operation(
        &self,
        request: Request<v1::RunOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = caller(&request)?;
        let name = decode::operation_name("name", &request.into_inner().name).map_err(status)?;
        answer(self.service.run_now(&caller, &name).await)
    }

    async fn delete_operation(
        &self,
        request: Request<v1::DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let caller = caller(&request)?;
        let name = decode::operation_name("name", &request.into_inner().name).map_err(status)?;
        self.service.delete(&caller, &name).await.map_err(status)?;
        Ok(reply(()))
    }

    async fn retry_operation(
        &self,
        request: Request<v1::RetryOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let key = decode::idempotency_key("idempotency_key", &request.idempotency_key);
        let key = found.take(key);
        let (name, key) = found.settle(name.zip(key)).map_err(status)?;
        let retried = self.service.retry(&caller, &name, key, None).await;
        answer(retried.map(|submitted| submitted.document))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListEventsRequest { name, page_size, page_token } = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &name));
        let asked = HistoryRequest::read(name, page_size, &page_token, &mut found);
        let asked = found.settle(asked).map_err(status)?;
        let page = self.service.events(&caller, asked, size::event).await;
        let page = page.map_err(status)?;
        Ok(reply(v1::ListEventsResponse {
            events: page.entries.iter().map(encode::event).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let caller = caller(&request)?;
        let kind = standing::kind(&request.into_inner().kind).map_err(status)?;
        let found = self.service.list_workers(&caller, kind.as_ref()).await.map_err(status)?;
        Ok(reply(standing::workers(found, self.service.limits().page_bytes)))
    }

    async fn list_kinds(
        &self,
        request: Request<v1::ListKindsRequest>,
    ) -> Result<Response<v1::ListKindsResponse>, Status> {
        let caller = caller(&request)?;
        let found = self.service.list_kinds(&caller).await.map_err(status)?;
        Ok(reply(standing::kinds(found)))
    }

    async fn read_result(
        &self,
        request: Request<v1::ReadResultRequest>,
    ) -> Result<Response<Self::ReadResultStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let offset = found.take(decode::offset("offset_bytes", request.offset_bytes));
        let (name, offset) = found.settle(name.zip(offset)).map_err(status)?;
        let result = self.service.result(&caller, &name).await.map_err(status)?;
        let (size_bytes, content_type) = described(&result);
        let chunks = chunks(&result, offset).await?;
        let first = v1::ReadResultResponse { content_type, size_bytes, ..Default::default() };
        let message = |data| v1::ReadResultResponse { data, ..Default::default() };
        let rest = chunks.map(move |data| data.map(message));
        Ok(streamed(Box::pin(tokio_stream::once(Ok(first)).chain(rest))))
    }

    async fn read_input(
        &self,
        request: Request<v1::ReadInputRequest>,
    ) -> Result<Response<Self::ReadInputStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let offset = found.take(decode::offset("offset_bytes", request.offset_bytes));
        let session = match request.attempt_token.as_str() {
            // A token names the session of an attempt; otherwise the session is that of a worker's stream.
            "" => self
                .service
                .session_of(&caller, &request.session_id)
                .filter(|id| id.attempt_lease().is_none() && caller.can(Action::Work)),
            token => {
                let token = self.service.attempt_of("attempt_token", token);
                found.take(token).map(|token| token.session())
            }
        };
        let (name, offset) = found.settle(name.zip(offset)).map_err(status)?;
        let input = self.service.input(&caller, &name, session).await.map_err(status)?;
        let (size_bytes, content_type) = described(&input);
        let chunks = chunks(&input, offset).await?;
        let first = v1::ReadInputResponse { content_type, size_bytes, ..Default::default() };
        let message = |data| v1::ReadInputResponse { data, ..Default::default() };
        let rest = chunks.map(move |data| data.map(message));
        Ok(streamed(Box::pin(tokio_stream::once(Ok(first)).chain(rest))))
    }
}

fn answer(document: Result<Document, ServiceError>) -> Result<Response<v1::Operation>, Status> {
    Ok(reply(encode::operation(&document.map_err(status)?)))
}
