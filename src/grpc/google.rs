//! `google.longrunning.Operations`: the same operations for clients that know Google's.

use tonic::{Request, Response, Status};

use super::status::status;
use super::{caller, reply, wait_time};
use crate::proto::google::longrunning::operations_server::Operations;
use crate::proto::google::longrunning::{
    CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest,
    ListOperationsResponse, Operation, WaitOperationRequest,
};
use crate::service::{Document, Service, ServiceError, View, Violations};
use crate::wire::{decode, google};

/// The gRPC interface for Google's clients.
#[derive(Clone, Debug)]
pub(super) struct GoogleRpc {
    service: Service,
}

impl GoogleRpc {
    pub(super) fn new(service: Service) -> Self {
        Self { service }
    }

    /// The operation with its result, because these clients read the result nowhere else.
    async fn answer(
        &self,
        document: Result<Document, ServiceError>,
    ) -> Result<Response<Operation>, Status> {
        let document = document.map_err(status)?;
        let document = self.service.with_result(document, google::MAX_RESPONSE_BYTES).await;
        Ok(reply(google::operation(&document.map_err(status)?)))
    }
}

#[tonic::async_trait]
impl Operations for GoogleRpc {
    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let caller = caller(&request)?;
        let asked = google::list(&caller, request.get_ref(), "name", Violations::default());
        let asked = asked.map_err(status)?;
        let page = self.service.list(&caller, asked, View::Result, google::size).await;
        let page = page.map_err(status)?;
        Ok(reply(ListOperationsResponse {
            operations: page.entries.iter().map(google::operation).collect(),
            next_page_token: page.next_page_token,
            unreachable: Vec::new(),
        }))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let caller = caller(&request)?;
        let name = decode::operation_name("name", &request.get_ref().name).map_err(status)?;
        self.answer(self.service.get(&caller, &name, View::Result).await).await
    }

    async fn delete_operation(
        &self,
        request: Request<DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let caller = caller(&request)?;
        let name = decode::operation_name("name", &request.get_ref().name).map_err(status)?;
        self.service.delete(&caller, &name).await.map_err(status)?;
        Ok(reply(()))
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let caller = caller(&request)?;
        let name = decode::operation_name("name", &request.get_ref().name).map_err(status)?;
        self.service.cancel(&caller, &name, String::new()).await.map_err(status)?;
        Ok(reply(()))
    }

    async fn wait_operation(
        &self,
        request: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let caller = caller(&request)?;
        let (metadata, _, request) = request.into_parts();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &request.name));
        let timeout = found.take(wait_time(&metadata, request.timeout.as_ref()));
        let (name, timeout) = found.settle(name.zip(timeout)).map_err(status)?;
        self.answer(self.service.wait(&caller, &name, timeout, View::Result).await).await
    }
}
