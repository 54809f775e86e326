//! API keys.

use super::{Client, ClientError, MAX_DECODING_BYTES, Service};
use crate::proto::v1::admin_client::AdminClient;
use crate::proto::v1::{
    CreateKeyRequest, CreateKeyResponse, Key, ListKeysRequest, ListKeysResponse, RevokeKeyRequest,
};

impl Client {
    /// Makes an API key. Not retried, because a retry could make a second key.
    pub async fn create_key(
        &self,
        request: CreateKeyRequest,
    ) -> Result<CreateKeyResponse, ClientError> {
        let once = self.clone().with_retries(0);
        once.unary(request, async |_, request| once.admin().create_key(request).await).await
    }

    /// One page of API keys.
    pub async fn list_keys(
        &self,
        request: ListKeysRequest,
    ) -> Result<ListKeysResponse, ClientError> {
        self.unary(request, async |_, request| self.admin().list_keys(request).await).await
    }

    /// Revokes an API key permanently.
    pub async fn revoke_key(&self, key_id: &str) -> Result<Key, ClientError> {
        let request = RevokeKeyRequest { key_id: key_id.to_owned() };
        let revoked =
            self.unary(request, async |_, request| self.admin().revoke_key(request).await).await?;
        Ok(revoked.key.unwrap_or_default())
    }

    pub(super) fn admin(&self) -> AdminClient<Service> {
        let service = Service::new(self.channel.clone(), self.headers.clone());
        AdminClient::new(service).max_decoding_message_size(MAX_DECODING_BYTES)
    }
}
