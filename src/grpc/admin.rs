//! `longrun.v1.Admin`: the administrators' API.

use tonic::{Request, Response, Status};

use super::status::status;
use super::{caller, reply};
use crate::proto::v1;
use crate::proto::v1::admin_server::Admin;
use crate::service::{Service, Violations};
use crate::wire::keys;

/// The service's gRPC face for administrators.
#[derive(Clone, Debug)]
pub(super) struct AdminRpc {
    service: Service,
}

impl AdminRpc {
    pub(super) fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl Admin for AdminRpc {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        let caller = caller(&request)?;
        let mut found = Violations::default();
        let new = keys::new_key(request.into_inner(), &mut found);
        let new = found.settle(new).map_err(status)?;
        let (text, record) = self.service.create_key(&caller, new).await.map_err(status)?;
        let key = Some(keys::key(&record));
        Ok(reply(v1::CreateKeyResponse { key, secret: text.text() }))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListKeysRequest { tenant, page_size, page_token } = request.into_inner();
        let whose = keys::whose(&tenant).map_err(status)?;
        let page = self.service.list_keys(&caller, whose, page_size, &page_token).await;
        let (records, next_page_token) = page.map_err(status)?;
        let keys = records.iter().map(keys::key).collect();
        Ok(reply(v1::ListKeysResponse { keys, next_page_token }))
    }

    async fn revoke_key(
        &self,
        request: Request<v1::RevokeKeyRequest>,
    ) -> Result<Response<v1::RevokeKeyResponse>, Status> {
        let caller = caller(&request)?;
        let id = request.into_inner().key_id;
        let record = self.service.revoke_key(&caller, &id).await.map_err(status)?;
        Ok(reply(v1::RevokeKeyResponse { key: Some(keys::key(&record)) }))
    }
}
