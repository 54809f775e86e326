//! `longrun.v1.Admin`: API keys, limits of tenants, shares of operations, webhooks.

use tonic::{Request, Response, Status};

use super::status::status;
use super::{caller, reply};
use crate::proto::v1;
use crate::proto::v1::admin_server::Admin;
use crate::service::keys::KeyListing;
use crate::service::{Service, Violations};
use crate::wire::{decode, keys, limits, shares, webhooks};

/// The gRPC interface for administrators.
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
        let mut found = Violations::default();
        let whose = found.take(keys::whose(&tenant));
        let listing = KeyListing::read(&caller, whose, page_size, &page_token, &mut found);
        let listing = found.settle(listing).map_err(status)?;
        let page = self.service.list_keys(&caller, listing).await;
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
        decode::given("key_id", &id).map_err(status)?;
        let record = self.service.revoke_key(&caller, &id).await.map_err(status)?;
        Ok(reply(v1::RevokeKeyResponse { key: Some(keys::key(&record)) }))
    }

    async fn list_limits(
        &self,
        request: Request<v1::ListLimitsRequest>,
    ) -> Result<Response<v1::ListLimitsResponse>, Status> {
        let caller = caller(&request)?;
        let tenant = limits::tenant_of(&request.into_inner().tenant).map_err(status)?;
        let listed = self.service.list_limits(&caller, tenant.as_ref()).map_err(status)?;
        let limits = listed.into_iter().map(limits::limit).collect();
        Ok(reply(v1::ListLimitsResponse { limits }))
    }

    async fn set_limit(
        &self,
        request: Request<v1::SetLimitRequest>,
    ) -> Result<Response<v1::SetLimitResponse>, Status> {
        let caller = caller(&request)?;
        let v1::SetLimitRequest { what, tenant, kind, label, most } = request.into_inner();
        let mut found = Violations::default();
        let limit = limits::limit_to_set([&what, &tenant, &kind, &label], most, &mut found);
        let limit = found.settle(limit).map_err(status)?;
        let set = self.service.set_limit(&caller, limit, most).await.map_err(status)?;
        Ok(reply(v1::SetLimitResponse { limit: Some(limits::limit(set)) }))
    }

    async fn delete_limit(
        &self,
        request: Request<v1::DeleteLimitRequest>,
    ) -> Result<Response<v1::DeleteLimitResponse>, Status> {
        let caller = caller(&request)?;
        let v1::DeleteLimitRequest { what, tenant, kind, label } = request.into_inner();
        let mut found = Violations::default();
        let limit = limits::limit_of([&what, &tenant, &kind, &label], &mut found);
        let limit = found.settle(limit).map_err(status)?;
        let left = self.service.delete_limit(&caller, &limit).await.map_err(status)?;
        Ok(reply(v1::DeleteLimitResponse { limit: left.map(limits::limit) }))
    }

    async fn pause_kind(
        &self,
        request: Request<v1::PauseKindRequest>,
    ) -> Result<Response<v1::PauseKindResponse>, Status> {
        let caller = caller(&request)?;
        let v1::PauseKindRequest { kind, tenant } = request.into_inner();
        let mut found = Violations::default();
        let of = limits::kind_of(&kind, &tenant, &mut found);
        let (kind, whose) = found.settle(of).map_err(status)?;
        self.service.pause_kind(&caller, whose, kind).await.map_err(status)?;
        Ok(reply(v1::PauseKindResponse {}))
    }

    async fn resume_kind(
        &self,
        request: Request<v1::ResumeKindRequest>,
    ) -> Result<Response<v1::ResumeKindResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ResumeKindRequest { kind, tenant } = request.into_inner();
        let mut found = Violations::default();
        let of = limits::kind_of(&kind, &tenant, &mut found);
        let (kind, whose) = found.settle(of).map_err(status)?;
        self.service.resume_kind(&caller, whose, kind).await.map_err(status)?;
        Ok(reply(v1::ResumeKindResponse {}))
    }

    async fn create_share(
        &self,
        request: Request<v1::CreateShareRequest>,
    ) -> Result<Response<v1::CreateShareResponse>, Status> {
        let caller = caller(&request)?;
        let v1::CreateShareRequest { name, ttl } = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &name));
        let ttl = found.take(shares::ttl(ttl));
        let (name, ttl) = found.settle(name.zip(ttl)).map_err(status)?;
        let made = self.service.create_share(&caller, &name, ttl).await.map_err(status)?;
        let (token, record) = made;
        let (share, url) = (Some(shares::share(&record)), self.service.share_url(&token));
        Ok(reply(v1::CreateShareResponse { share, token, url }))
    }

    async fn list_shares(
        &self,
        request: Request<v1::ListSharesRequest>,
    ) -> Result<Response<v1::ListSharesResponse>, Status> {
        let caller = caller(&request)?;
        let name = decode::operation_name("name", &request.into_inner().name).map_err(status)?;
        let listed = self.service.list_shares(&caller, &name).await.map_err(status)?;
        Ok(reply(v1::ListSharesResponse { shares: listed.iter().map(shares::share).collect() }))
    }

    async fn revoke_share(
        &self,
        request: Request<v1::RevokeShareRequest>,
    ) -> Result<Response<v1::RevokeShareResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RevokeShareRequest { name, share_id } = request.into_inner();
        let mut found = Violations::default();
        let name = found.take(decode::operation_name("name", &name));
        let share_id = found.take(decode::given("share_id", &share_id));
        let (name, share_id) = found.settle(name.zip(share_id)).map_err(status)?;
        self.service.revoke_share(&caller, &name, share_id).await.map_err(status)?;
        Ok(reply(v1::RevokeShareResponse {}))
    }

    async fn create_webhook(
        &self,
        request: Request<v1::CreateWebhookRequest>,
    ) -> Result<Response<v1::CreateWebhookResponse>, Status> {
        let caller = caller(&request)?;
        let mut found = Violations::default();
        let new = webhooks::new_webhook(request.into_inner(), &mut found);
        let new = found.settle(new).map_err(status)?;
        let (made, secret) = self.service.create_webhook(&caller, new).await.map_err(status)?;
        let webhook = Some(webhooks::webhook(&made));
        Ok(reply(v1::CreateWebhookResponse { webhook, secret: secret.text() }))
    }

    async fn list_webhooks(
        &self,
        request: Request<v1::ListWebhooksRequest>,
    ) -> Result<Response<v1::ListWebhooksResponse>, Status> {
        let caller = caller(&request)?;
        let tenant = webhooks::tenant(&request.into_inner().tenant).map_err(status)?;
        let listed = self.service.list_webhooks(&caller, tenant).map_err(status)?;
        let webhooks = listed.iter().map(webhooks::webhook).collect();
        Ok(reply(v1::ListWebhooksResponse { webhooks }))
    }

    async fn delete_webhook(
        &self,
        request: Request<v1::DeleteWebhookRequest>,
    ) -> Result<Response<v1::DeleteWebhookResponse>, Status> {
        let caller = caller(&request)?;
        let v1::DeleteWebhookRequest { webhook_id, tenant } = request.into_inner();
        let mut found = Violations::default();
        let tenant = webhooks::tenant_of(&tenant, ("webhook_id", &webhook_id), &mut found);
        let tenant = found.settle(tenant).map_err(status)?;
        self.service.delete_webhook(&caller, tenant, &webhook_id).await.map_err(status)?;
        Ok(reply(v1::DeleteWebhookResponse {}))
    }

    async fn pause_webhook(
        &self,
        request: Request<v1::PauseWebhookRequest>,
    ) -> Result<Response<v1::PauseWebhookResponse>, Status> {
        let caller = caller(&request)?;
        let v1::PauseWebhookRequest { webhook_id, tenant } = request.into_inner();
        let mut found = Violations::default();
        let tenant = webhooks::tenant_of(&tenant, ("webhook_id", &webhook_id), &mut found);
        let tenant = found.settle(tenant).map_err(status)?;
        let record = self.service.pause_webhook(&caller, tenant, &webhook_id).await;
        let webhook = Some(webhooks::webhook(&record.map_err(status)?));
        Ok(reply(v1::PauseWebhookResponse { webhook }))
    }

    async fn resume_webhook(
        &self,
        request: Request<v1::ResumeWebhookRequest>,
    ) -> Result<Response<v1::ResumeWebhookResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ResumeWebhookRequest { webhook_id, tenant } = request.into_inner();
        let mut found = Violations::default();
        let tenant = webhooks::tenant_of(&tenant, ("webhook_id", &webhook_id), &mut found);
        let tenant = found.settle(tenant).map_err(status)?;
        let record = self.service.resume_webhook(&caller, tenant, &webhook_id).await;
        let webhook = Some(webhooks::webhook(&record.map_err(status)?));
        Ok(reply(v1::ResumeWebhookResponse { webhook }))
    }

    async fn get_webhook_secret(
        &self,
        request: Request<v1::GetWebhookSecretRequest>,
    ) -> Result<Response<v1::GetWebhookSecretResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetWebhookSecretRequest { webhook_id, tenant } = request.into_inner();
        let mut found = Violations::default();
        let tenant = webhooks::tenant_of(&tenant, ("webhook_id", &webhook_id), &mut found);
        let tenant = found.settle(tenant).map_err(status)?;
        let found = self.service.webhook_secret(&caller, tenant, &webhook_id);
        let (record, secret) = found.map_err(status)?;
        let webhook = Some(webhooks::webhook(&record));
        Ok(reply(v1::GetWebhookSecretResponse { webhook, secret: secret.text() }))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<v1::RotateWebhookSecretRequest>,
    ) -> Result<Response<v1::RotateWebhookSecretResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RotateWebhookSecretRequest { webhook_id, tenant } = request.into_inner();
        let mut found = Violations::default();
        let tenant = webhooks::tenant_of(&tenant, ("webhook_id", &webhook_id), &mut found);
        let tenant = found.settle(tenant).map_err(status)?;
        let changed = self.service.rotate_webhook_secret(&caller, tenant, &webhook_id).await;
        let (record, secret) = changed.map_err(status)?;
        let webhook = Some(webhooks::webhook(&record));
        Ok(reply(v1::RotateWebhookSecretResponse { webhook, secret: secret.text() }))
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let caller = caller(&request)?;
        let mut found = Violations::default();
        let listing = webhooks::listing(request.into_inner(), &caller, &mut found);
        let listing = found.settle(listing).map_err(status)?;
        let page = self.service.list_deliveries(&caller, listing).await.map_err(status)?;
        let (records, next_page_token) = page;
        let deliveries = records.iter().map(webhooks::delivery).collect();
        Ok(reply(v1::ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn redeliver(
        &self,
        request: Request<v1::RedeliverRequest>,
    ) -> Result<Response<v1::RedeliverResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RedeliverRequest { delivery_id, tenant } = request.into_inner();
        let mut found = Violations::default();
        let tenant = webhooks::tenant_of(&tenant, ("delivery_id", &delivery_id), &mut found);
        let tenant = found.settle(tenant).map_err(status)?;
        let again = self.service.redeliver(&caller, tenant, &delivery_id).await;
        let delivery = Some(webhooks::delivery(&again.map_err(status)?));
        Ok(reply(v1::RedeliverResponse { delivery }))
    }
}
