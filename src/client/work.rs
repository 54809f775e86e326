//! The part of the client that workers need.

use tonic::service::interceptor::InterceptedService;

use super::result::Asked;
use super::{Client, ClientError, InputStream, MAX_DECODING_BYTES, Service};
use crate::proto::v1::workers_client::WorkersClient;

impl Client {
    /// Streams the input of an operation that a worker's session works on.
    pub(crate) async fn input_of_session(
        &self,
        name: &str,
        session_id: &str,
    ) -> Result<InputStream, ClientError> {
        let (name, session_id) = (name.to_owned(), session_id.to_owned());
        InputStream::open(self.clone(), Asked { name, offset_bytes: 0, session_id }).await
    }

    /// The generated client of the worker API, with this client's connection and headers.
    pub(crate) fn workers(&self) -> WorkersClient<Service> {
        let service = InterceptedService::new(self.channel.clone(), self.headers.clone());
        WorkersClient::new(service).max_decoding_message_size(MAX_DECODING_BYTES)
    }
}
