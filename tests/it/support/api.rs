//! The client API over raw stubs, in few words.

use std::fmt::Debug;
use std::net::SocketAddr;

use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use longrun::client::Client;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::watch_operation_response::Type as WatchType;
use longrun::proto::v1::workers_client::WorkersClient;
use longrun::proto::v1::*;

use super::{Refused, TestWorker, hello, soon};

/// A connection to a server.
#[derive(Clone, Debug)]
pub struct Api {
    pub channel: Channel,
}

impl Api {
    pub fn new(addr: SocketAddr) -> Self {
        Self { channel: endpoint(addr).connect_lazy() }
    }

    /// A connection that lets the server send little ahead of its reader.
    pub fn narrow(addr: SocketAddr) -> Self {
        const LEAST: u32 = 65_535;
        let endpoint = endpoint(addr);
        let endpoint = endpoint.initial_stream_window_size(LEAST);
        Self { channel: endpoint.initial_connection_window_size(LEAST).connect_lazy() }
    }

    /// The raw stub.
    pub fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    /// The raw stub.
    pub fn workers(&self) -> WorkersClient<Channel> {
        WorkersClient::new(self.channel.clone())
    }

    /// The typed client over the same connection.
    pub fn client(&self) -> Client {
        Client::from_channel(self.channel.clone())
    }

    pub async fn submit(&self, request: SubmitRequest) -> Operation {
        soon(self.operations().submit(request)).await.unwrap().into_inner()
    }

    pub async fn submit_batch(&self, requests: Vec<SubmitRequest>) -> Vec<SubmitBatchResult> {
        let request = SubmitBatchRequest { requests, batch: None };
        soon(self.operations().submit_batch(request)).await.unwrap().into_inner().results
    }

    /// The operation as it is stored, without what the server adds of this moment.
    pub async fn get(&self, name: &str) -> Operation {
        Operation { waiting: None, ..self.look(name).await }
    }

    /// The operation as the server shows it.
    pub async fn look(&self, name: &str) -> Operation {
        let request = GetOperationRequest { name: name.to_owned(), view: 0 };
        soon(self.operations().get_operation(request)).await.unwrap().into_inner()
    }

    /// The operation once it is done.
    pub async fn done(&self, name: &str) -> Operation {
        let request = WaitOperationRequest { name: name.to_owned(), ..Default::default() };
        let operation = soon(self.operations().wait_operation(request)).await.unwrap().into_inner();
        assert!(operation.done, "{operation:?}");
        operation
    }

    pub async fn cancel(&self, name: &str, reason: &str) -> Operation {
        let request = CancelOperationRequest { name: name.to_owned(), reason: reason.to_owned() };
        soon(self.operations().cancel_operation(request)).await.unwrap().into_inner()
    }

    pub async fn delete(&self, name: &str) {
        let request = DeleteOperationRequest { name: name.to_owned() };
        soon(self.operations().delete_operation(request)).await.unwrap();
    }

    /// A new operation that is done, by being cancelled.
    pub async fn cancelled(&self, request: SubmitRequest) -> Operation {
        let operation = self.submit(request).await;
        self.cancel(&operation.name, "").await
    }

    pub async fn list(&self, request: ListOperationsRequest) -> ListOperationsResponse {
        soon(self.operations().list_operations(request)).await.unwrap().into_inner()
    }

    /// The names on all pages, in order.
    pub async fn names(&self, request: ListOperationsRequest) -> Vec<String> {
        let (mut names, mut request) = (Vec::new(), request);
        loop {
            let page = self.list(request.clone()).await;
            names.extend(page.operations.into_iter().map(|operation| operation.name));
            if page.next_page_token.is_empty() {
                return names;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The names of those that match, oldest first.
    pub async fn matching(&self, filter: &str) -> Vec<String> {
        let order_by = "create_time".to_owned();
        let filter = filter.to_owned();
        self.names(ListOperationsRequest { filter, order_by, ..Default::default() }).await
    }

    /// The history on one large page.
    pub async fn events(&self, name: &str) -> Vec<Event> {
        let request =
            ListEventsRequest { name: name.to_owned(), page_size: 1_000, ..Default::default() };
        let page = soon(self.operations().list_events(request)).await.unwrap().into_inner();
        assert_eq!(page.next_page_token, "");
        page.events
    }

    pub async fn watch(&self, request: WatchOperationRequest) -> Watching<WatchOperationResponse> {
        Watching(soon(self.operations().watch_operation(request)).await.unwrap().into_inner())
    }

    pub async fn watch_all(
        &self,
        request: WatchOperationsRequest,
    ) -> Watching<WatchOperationsResponse> {
        Watching(soon(self.operations().watch_operations(request)).await.unwrap().into_inner())
    }

    /// A result, its content type and its chunks.
    pub async fn read_result(&self, name: &str, offset_bytes: i64) -> Vec<ReadResultResponse> {
        let request = ReadResultRequest { name: name.to_owned(), offset_bytes };
        let chunks = soon(self.operations().read_result(request)).await.unwrap().into_inner();
        Watching(chunks).rest().await
    }

    /// A worker of one kind that takes this many attempts at once.
    pub async fn worker(&self, kind: &str, max_in_flight: i32) -> TestWorker {
        TestWorker::connect(self, hello(kind, max_in_flight)).await
    }
}

fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{addr}")).unwrap()
}

/// A watch from the operation as it is.
pub fn watch_now(name: &str) -> WatchOperationRequest {
    WatchOperationRequest { name: name.to_owned(), ..Default::default() }
}

/// A watch of everything after a revision.
pub fn watch_from(name: &str, after_revision: i64) -> WatchOperationRequest {
    WatchOperationRequest { after_revision: Some(after_revision), ..watch_now(name) }
}

/// A stream of messages.
#[derive(Debug)]
pub struct Watching<T>(pub Streaming<T>);

impl<T: Debug> Watching<T> {
    /// The next message.
    #[track_caller]
    pub fn next(&mut self) -> impl Future<Output = T> {
        let next = soon(self.0.message());
        async { next.await.expect("must not fail").expect("must not end") }
    }

    /// Fails unless the stream ends with OK.
    #[track_caller]
    pub fn ended(&mut self) -> impl Future<Output = ()> {
        let next = soon(self.0.message());
        async { assert!(next.await.expect("must end with OK").is_none(), "must end") }
    }

    /// Fails unless the stream ends with an error.
    #[track_caller]
    pub fn refused(&mut self) -> impl Future<Output = Refused> {
        let next = soon(self.0.message());
        async {
            let status: Status = next.await.expect_err("must be refused");
            Refused::read(&status)
        }
    }

    /// All messages up to the end, which must be OK.
    pub async fn rest(mut self) -> Vec<T> {
        let mut messages = Vec::new();
        while let Some(message) = soon(self.0.message()).await.expect("must end with OK") {
            messages.push(message);
        }
        messages
    }
}

impl Watching<WatchOperationResponse> {
    /// The next message, which must be of this type.
    pub async fn expect(&mut self, expected: WatchType) -> WatchOperationResponse {
        let message = self.next().await;
        assert_eq!(message.r#type(), expected, "{message:?}");
        message
    }

    /// The revisions of the rest, all of which must be transitions.
    pub async fn revisions(self) -> Vec<i64> {
        let revision = |message: &WatchOperationResponse| {
            assert_eq!(message.r#type(), WatchType::Transition, "{message:?}");
            message.revision
        };
        self.rest().await.iter().map(revision).collect()
    }
}
