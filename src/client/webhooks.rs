//! Webhooks and their deliveries.

use super::{Client, ClientError};
use crate::proto::v1::{
    CreateWebhookRequest, CreateWebhookResponse, DeleteWebhookRequest, Delivery,
    GetWebhookSecretRequest, GetWebhookSecretResponse, ListDeliveriesRequest,
    ListDeliveriesResponse, ListWebhooksRequest, PauseWebhookRequest, RedeliverRequest,
    ResumeWebhookRequest, RotateWebhookSecretRequest, RotateWebhookSecretResponse, Webhook,
};

impl Client {
    /// Makes a webhook. Not retried, because a retry could make a second one.
    pub async fn create_webhook(
        &self,
        request: CreateWebhookRequest,
    ) -> Result<CreateWebhookResponse, ClientError> {
        let once = self.clone().with_retries(0);
        once.unary(request, async |_, request| once.admin().create_webhook(request).await).await
    }

    /// The webhooks of a tenant; of the caller's own if `tenant` is empty.
    pub async fn list_webhooks(&self, tenant: &str) -> Result<Vec<Webhook>, ClientError> {
        let request = ListWebhooksRequest { tenant: tenant.to_owned() };
        let listed = self
            .unary(request, async |_, request| self.admin().list_webhooks(request).await)
            .await?;
        Ok(listed.webhooks)
    }

    /// Deletes a webhook with its pending deliveries.
    pub async fn delete_webhook(&self, tenant: &str, webhook_id: &str) -> Result<(), ClientError> {
        let (tenant, webhook_id) = (tenant.to_owned(), webhook_id.to_owned());
        let request = DeleteWebhookRequest { webhook_id, tenant };
        self.unary(request, async |_, request| self.admin().delete_webhook(request).await)
            .await
            .map(drop)
    }

    /// Pauses a webhook: deliveries are stored but not sent.
    pub async fn pause_webhook(
        &self,
        tenant: &str,
        webhook_id: &str,
    ) -> Result<Webhook, ClientError> {
        let (tenant, webhook_id) = (tenant.to_owned(), webhook_id.to_owned());
        let request = PauseWebhookRequest { webhook_id, tenant };
        let paused = self
            .unary(request, async |_, request| self.admin().pause_webhook(request).await)
            .await?;
        Ok(paused.webhook.unwrap_or_default())
    }

    /// Resumes a webhook.
    pub async fn resume_webhook(
        &self,
        tenant: &str,
        webhook_id: &str,
    ) -> Result<Webhook, ClientError> {
        let (tenant, webhook_id) = (tenant.to_owned(), webhook_id.to_owned());
        let request = ResumeWebhookRequest { webhook_id, tenant };
        let resumed = self
            .unary(request, async |_, request| self.admin().resume_webhook(request).await)
            .await?;
        Ok(resumed.webhook.unwrap_or_default())
    }

    /// The secret of a webhook.
    pub async fn webhook_secret(
        &self,
        tenant: &str,
        webhook_id: &str,
    ) -> Result<GetWebhookSecretResponse, ClientError> {
        let (tenant, webhook_id) = (tenant.to_owned(), webhook_id.to_owned());
        let request = GetWebhookSecretRequest { webhook_id, tenant };
        self.unary(request, async |_, request| self.admin().get_webhook_secret(request).await).await
    }

    /// Makes a new secret for a webhook. Not retried, because a retry would make another one.
    pub async fn rotate_webhook_secret(
        &self,
        tenant: &str,
        webhook_id: &str,
    ) -> Result<RotateWebhookSecretResponse, ClientError> {
        let (tenant, webhook_id) = (tenant.to_owned(), webhook_id.to_owned());
        let request = RotateWebhookSecretRequest { webhook_id, tenant };
        let once = self.clone().with_retries(0);
        once.unary(request, async |_, request| once.admin().rotate_webhook_secret(request).await)
            .await
    }

    /// One page of deliveries.
    pub async fn list_deliveries(
        &self,
        request: ListDeliveriesRequest,
    ) -> Result<ListDeliveriesResponse, ClientError> {
        self.unary(request, async |_, request| self.admin().list_deliveries(request).await).await
    }

    /// Sends a delivery once more.
    pub async fn redeliver(
        &self,
        tenant: &str,
        delivery_id: &str,
    ) -> Result<Delivery, ClientError> {
        let (tenant, delivery_id) = (tenant.to_owned(), delivery_id.to_owned());
        let request = RedeliverRequest { delivery_id, tenant };
        let again =
            self.unary(request, async |_, request| self.admin().redeliver(request).await).await?;
        Ok(again.delivery.unwrap_or_default())
    }
}
