//! A typed client of the service, for Rust programs, the command line and workers.
//!
//! Does what every careful client must do and would otherwise get wrong: keepalive, retries that cannot submit twice,
//! waits and watches that outlive proxies, servers and broken connections. It uses the messages of [`crate::proto::v1`]
//! and must never touch the server's own types.
//!
//! Read next: `watch` for how a watch resumes, `error` for the errors of failed calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use self::channel::Headers;
use crate::proto::v1::operations_client::OperationsClient;
use crate::proto::v1::{
    CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, Operation, OperationView,
    RetryOperationRequest, RunOperationRequest, WatchOperationRequest, WatchOperationsRequest,
};

mod address;
pub(crate) mod backoff;
mod builder;
mod channel;
mod error;
mod keys;
mod limits;
mod pages;
mod patience;
#[cfg(feature = "server")]
mod probe;
mod result;
mod standing;
mod submission;
mod submit;
mod token;
mod trust;
mod upload;
mod wait;
mod watch;
mod watch_all;
mod webhooks;
#[cfg(feature = "worker")]
mod work;

#[cfg(feature = "server")]
pub(crate) use self::address::Privacy;
pub(crate) use self::backoff::Backoff;
pub use self::builder::ClientBuilder;
pub use self::error::ClientError;
use self::patience::Patience;
#[cfg(feature = "server")]
pub use self::probe::{Health, StreamProbe};
use self::result::Asked;
#[cfg(feature = "server")]
pub(crate) use self::result::{Chunk, ContentStream};
pub use self::result::{InputStream, ResultStream, StoredResult};
pub use self::submission::Submission;
use self::submit::fill_key;
pub use self::watch::Watch;
pub use self::watch_all::WatchAll;

/// Larger than any response of a server with default limits.
const MAX_DECODING_BYTES: usize = 16 << 20;
/// The time limit of one try of a call that does not wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 4;
const DEFAULT_PATIENCE: Duration = Duration::from_secs(300);

/// The transport of all calls.
pub(crate) type Service = InterceptedService<Channel, Headers>;

/// A client of one service. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    headers: Headers,
    /// The server as its user gave it; `None` over a channel of the caller's own.
    url: Option<Arc<str>>,
    /// The host, if plain HTTP reaches it over a network where others can read requests.
    public_address: Option<Arc<str>>,
    /// The maximum number of retries of a call; `None`: the default.
    retries: Option<u32>,
    patience: Duration,
    #[cfg(feature = "worker")]
    is_within_server: bool,
}

impl Client {
    /// Builds a client of `url` (`http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`) with certificates or a token.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Connects to `url`, e.g. `http://127.0.0.1:7420`, and fails if no server responds.
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        Self::builder(url).connect().await
    }

    /// A client of `url` that connects with its first call, and again whenever the connection is lost. Must be called
    /// within a Tokio runtime.
    pub fn connect_lazy(url: &str) -> Result<Self, ClientError> {
        Self::builder(url).connect_lazy()
    }

    /// A client over a connection that the caller has configured.
    pub fn from_channel(channel: Channel) -> Self {
        Self {
            channel,
            headers: Headers::default(),
            url: None,
            public_address: None,
            retries: None,
            patience: DEFAULT_PATIENCE,
            #[cfg(feature = "worker")]
            is_within_server: false,
        }
    }

    /// The same client, of the server in this process.
    #[cfg(feature = "server")]
    pub(crate) fn within_server(self) -> Self {
        Self { is_within_server: true, ..self }
    }

    /// Whether the server is in this process.
    #[cfg(feature = "worker")]
    pub(crate) fn is_within_server(&self) -> bool {
        self.is_within_server
    }

    /// The connection, for calls of other APIs.
    #[cfg(feature = "server")]
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The server's URL as it was given; `None` over a channel of the caller's own.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The same client, which sends `Authorization: Bearer {token}` with every call. Fails if that would go over plain
    /// HTTP to another machine, unless the builder allows it; a channel of the caller's own is not checked.
    pub fn with_bearer_token(mut self, token: &str) -> Result<Self, ClientError> {
        let invalid = |rule| ClientError::local(Code::InvalidArgument, rule);
        if let Some(host) = &self.public_address {
            return Err(invalid(builder::in_plaintext(host)));
        }
        self.headers = Headers::new(Some(token::Token::given(token).map_err(invalid)?));
        Ok(self)
    }

    /// The same client, which retries a call at most `retries` times (4 by default) while the service is unavailable.
    /// The number also applies to waits, watches and streams of contents until the service is first reached; by default
    /// those try for 90 s.
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// The same client, whose waits, watches and streams of contents tolerate an unavailable service for this long (5
    /// minutes by default).
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The operation's present state; `OperationView::Unspecified` carries everything.
    pub async fn get(&self, name: &str, view: OperationView) -> Result<Operation, ClientError> {
        let request = GetOperationRequest { name: name.to_owned(), view: view.into() };
        self.unary(request, async |mut rpc, request| rpc.get_operation(request).await).await
    }

    /// Watches an operation to its end, over as many streams as necessary; see [`Watch`].
    pub fn watch(&self, request: WatchOperationRequest) -> Watch {
        Watch::new(self.clone(), request)
    }

    /// Watches all operations that match a filter, over as many streams as necessary; see [`WatchAll`].
    pub fn watch_operations(&self, request: WatchOperationsRequest) -> WatchAll {
        WatchAll::new(self.clone(), request)
    }

    /// Starts a deferred operation as soon as a worker has room.
    pub async fn run_now(&self, name: &str) -> Result<Operation, ClientError> {
        let request = RunOperationRequest { name: name.to_owned() };
        self.unary(request, async |mut rpc, request| rpc.run_operation(request).await).await
    }

    /// Requests the cancel of an operation, with a reason.
    pub async fn cancel(&self, name: &str, reason: &str) -> Result<Operation, ClientError> {
        let request = CancelOperationRequest { name: name.to_owned(), reason: reason.to_owned() };
        self.unary(request, async |mut rpc, request| rpc.cancel_operation(request).await).await
    }

    /// Deletes a done operation.
    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        let request = DeleteOperationRequest { name: name.to_owned() };
        self.unary(request, async |mut rpc, request| rpc.delete_operation(request).await).await
    }

    /// Submits a done operation's input again, as a new operation. An empty idempotency key is replaced by a random
    /// one.
    pub async fn retry(
        &self,
        mut request: RetryOperationRequest,
    ) -> Result<Operation, ClientError> {
        fill_key(&mut request.idempotency_key);
        self.unary(request, async |mut rpc, request| rpc.retry_operation(request).await).await
    }

    /// Reads a done operation's result into memory, whatever its size.
    pub async fn read_result(&self, name: &str) -> Result<StoredResult, ClientError> {
        self.result_stream(name, 0).await?.collect().await
    }

    /// Streams a done operation's result from `offset_bytes` on; see [`ResultStream`].
    pub async fn result_stream(
        &self,
        name: &str,
        offset_bytes: i64,
    ) -> Result<ResultStream, ClientError> {
        let (name, session_id) = (name.to_owned(), String::new());
        ResultStream::open(self.clone(), Asked { name, offset_bytes, session_id }).await
    }

    /// Streams an operation's input from `offset_bytes` on; see [`InputStream`].
    pub async fn input_stream(
        &self,
        name: &str,
        offset_bytes: i64,
    ) -> Result<InputStream, ClientError> {
        let (name, session_id) = (name.to_owned(), String::new());
        InputStream::open(self.clone(), Asked { name, offset_bytes, session_id }).await
    }

    fn operations(&self) -> OperationsClient<Service> {
        let service = InterceptedService::new(self.channel.clone(), self.headers.clone());
        OperationsClient::new(service).max_decoding_message_size(MAX_DECODING_BYTES)
    }

    /// Calls, and retries while the service is unavailable. Every rpc called through this is safe to repeat.
    async fn unary<Req, Res>(
        &self,
        request: Req,
        call: impl AsyncFn(OperationsClient<Service>, Req) -> Result<Response<Res>, Status>,
    ) -> Result<Res, ClientError>
    where
        Req: Clone,
    {
        let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        let mut retries_left = self.retries.unwrap_or(DEFAULT_RETRIES);
        loop {
            let answer = call(self.operations(), request.clone());
            let error = match timeout_at(Instant::now() + CALL_TIMEOUT, answer).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => ClientError::from(status),
                Err(_elapsed) => {
                    return Err(ClientError::local(
                        Code::DeadlineExceeded,
                        "the server did not respond",
                    ));
                }
            };
            if !error.is_transient() || retries_left == 0 {
                return Err(error);
            }
            retries_left -= 1;
            sleep(backoff.wait(error.retry_after())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{ListOperationsRequest, SubmitRequest};

    #[tokio::test]
    async fn calls_can_be_spawned_and_give_up_on_a_service_that_is_not_there() {
        fn sendable<T: Send>(value: T) -> T {
            value
        }
        // No server listens on port 0.
        let client = Client::connect_lazy("127.0.0.1:0").unwrap().with_retries(1);
        let refused = sendable(client.submit(SubmitRequest::default())).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        let watch = client.watch(WatchOperationRequest::default());
        drop(sendable(watch.into_stream()));
        drop(sendable(client.wait("x", None)));
        drop(sendable(client.read_result("x")));
        drop(sendable(client.list_all(ListOperationsRequest::default())));
    }

    #[tokio::test]
    async fn a_token_is_not_sent_where_others_can_read_it() {
        let refused = Client::builder("http://10.1.2.3:7420").token("marked").connect_lazy();
        let error = refused.unwrap_err();
        assert!(error.message().contains("--allow-plaintext-token"), "{error}");
        let plain = Client::connect_lazy("http://10.1.2.3:7420").unwrap();
        assert!(plain.with_bearer_token("marked").is_err());
        let allowed = Client::builder("http://10.1.2.3:7420").token("marked");
        let shown = format!("{allowed:?}");
        let client = allowed.allow_plaintext_token().connect_lazy().unwrap();
        assert!(Client::builder("unix:/run/longrun").token("marked").connect_lazy().is_ok());
        let shown = format!("{shown} {client:?}");
        assert!(!shown.contains("marked"), "{shown}");
    }
}
