//! Limits of tenants, and shares of operations.

use std::time::Duration;

use super::{Client, ClientError};
use crate::proto::v1::{
    CreateShareRequest, CreateShareResponse, DeleteLimitRequest, Limit, ListLimitsRequest,
    ListSharesRequest, PauseKindRequest, ResumeKindRequest, RevokeShareRequest, SetLimitRequest,
    Share,
};

impl Client {
    /// The limits of a tenant, its own and those for all tenants; with an empty `tenant`, all limits.
    pub async fn list_limits(&self, tenant: &str) -> Result<Vec<Limit>, ClientError> {
        let request = ListLimitsRequest { tenant: tenant.to_owned() };
        let listed =
            self.unary(request, async |_, request| self.admin().list_limits(request).await).await?;
        Ok(listed.limits)
    }

    /// Sets a limit.
    pub async fn set_limit(&self, request: SetLimitRequest) -> Result<Limit, ClientError> {
        let set =
            self.unary(request, async |_, request| self.admin().set_limit(request).await).await?;
        Ok(set.limit.unwrap_or_default())
    }

    /// Deletes a limit that was set; returns the value of the configuration file, if it has one. Not retried, because a
    /// retry could find it gone.
    pub async fn delete_limit(
        &self,
        request: DeleteLimitRequest,
    ) -> Result<Option<Limit>, ClientError> {
        let once = self.clone().with_retries(0);
        let left = once
            .unary(request, async |_, request| once.admin().delete_limit(request).await)
            .await?;
        Ok(left.limit)
    }

    /// Pauses a kind: of the caller's tenant if `tenant` is empty, of all tenants for `-`.
    pub async fn pause_kind(&self, kind: &str, tenant: &str) -> Result<(), ClientError> {
        let request = PauseKindRequest { kind: kind.to_owned(), tenant: tenant.to_owned() };
        self.unary(request, async |_, request| self.admin().pause_kind(request).await).await?;
        Ok(())
    }

    /// Resumes a paused kind. `tenant` as in [`Self::pause_kind`].
    pub async fn resume_kind(&self, kind: &str, tenant: &str) -> Result<(), ClientError> {
        let request = ResumeKindRequest { kind: kind.to_owned(), tenant: tenant.to_owned() };
        self.unary(request, async |_, request| self.admin().resume_kind(request).await).await?;
        Ok(())
    }

    /// Shares an operation; for 24 hours if `ttl` is `None`. Not retried, because a retry could make a second share.
    pub async fn create_share(
        &self,
        name: &str,
        ttl: Option<Duration>,
    ) -> Result<CreateShareResponse, ClientError> {
        let too_long = |_| ClientError::local(tonic::Code::InvalidArgument, "ttl is too long");
        let ttl = ttl.map(TryInto::try_into).transpose().map_err(too_long)?;
        let request = CreateShareRequest { name: name.to_owned(), ttl };
        let once = self.clone().with_retries(0);
        once.unary(request, async |_, request| once.admin().create_share(request).await).await
    }

    /// The shares of an operation that have not expired.
    pub async fn list_shares(&self, name: &str) -> Result<Vec<Share>, ClientError> {
        let request = ListSharesRequest { name: name.to_owned() };
        let listed =
            self.unary(request, async |_, request| self.admin().list_shares(request).await).await?;
        Ok(listed.shares)
    }

    /// Revokes a share permanently. Not retried, because a retry could find it gone.
    pub async fn revoke_share(&self, name: &str, share_id: &str) -> Result<(), ClientError> {
        let request = RevokeShareRequest { name: name.to_owned(), share_id: share_id.to_owned() };
        let once = self.clone().with_retries(0);
        once.unary(request, async |_, request| once.admin().revoke_share(request).await).await?;
        Ok(())
    }
}
