//! Shares: URLs whose holders read the status and the result of one operation.
//!
//! Tokens are stored like API keys: the store has a code of the token under its public id. A token identifies a caller
//! that may read one operation, whatever its owner, and nothing else (`Caller::of_share`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{KeyText, bytes_of_hex};
use super::{Action, Caller, OperationName, Reason, Service, ServiceError, audit, echo};
use crate::catalogue::{Catalogue, Change, Entry, Snapshot, Space};
use crate::operation::{OperationId, State, TenantId, Timestamp};
use crate::store::StoreError;

/// The prefix of every token.
pub const PREFIX: &str = "lrs_";
/// The default lifetime of a share.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3_600);
/// The shortest and the longest lifetime of a share.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);
/// The maximum number of unexpired shares of an operation, and of a tenant.
const MAX_OF_OPERATION: usize = 20;
const MAX_OF_TENANT: usize = 1_000;
/// The purpose that codes of tokens are bound to.
const PURPOSE: &str = "shares";

/// A share as it is stored: everything but its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Share {
    /// The tenant of the operation.
    pub tenant: TenantId,
    /// The operation.
    pub operation: OperationId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The subject that made it; may be empty.
    pub created_by: String,
    /// The code of its id and its token.
    code: [u8; 32],
}

impl Entry for Share {
    const SPACE: &'static str = "shares";
}

/// A share as it is listed.
#[derive(Clone, Debug)]
pub struct ShareRecord {
    /// Its public id.
    pub id: String,
    /// The share.
    pub share: Arc<Share>,
}

/// All shares. Cheap to clone.
#[derive(Clone)]
pub struct Shares {
    space: Arc<Space<Share>>,
    /// The base of URLs; empty if unknown.
    base: Arc<str>,
}

impl Shares {
    /// Reads the shares of the store. Their URLs begin with `public_url`.
    pub async fn open(
        catalogue: &mut Catalogue,
        public_url: Option<&str>,
    ) -> Result<Self, StoreError> {
        let base = public_url.unwrap_or_default().trim_end_matches('/').into();
        Ok(Self { space: catalogue.open().await?, base })
    }
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shares")
    }
}

impl Service {
    fn shares(&self) -> Result<&Space<Share>, ServiceError> {
        self.shares.as_ref().map(|shares| &*shares.space).ok_or_else(|| {
            ServiceError::new(Reason::Unsupported, "this server was set up without shares")
        })
    }

    /// Shares an operation for a while, 24 hours by default. Only this call returns the token.
    pub async fn create_share(
        &self,
        caller: &Caller,
        name: &OperationName,
        ttl: Option<Duration>,
    ) -> Result<(String, ShareRecord), ServiceError> {
        caller.may(Action::Share)?;
        let shares = self.shares()?;
        let ttl = ttl.unwrap_or(DEFAULT_TTL);
        if !(SHORTEST..=LONGEST).contains(&ttl) {
            return Err(ServiceError::invalid_field(
                "ttl",
                "must be from 1 s to 366 days, e.g. 24h",
            ));
        }
        let operation = self.find(caller, name).await?;
        let text = KeyText::generate_as(PREFIX).map_err(|error| {
            tracing::error!(error, "no token can be made");
            ServiceError::new(Reason::Internal, "no token can be made")
        })?;
        let now = self.now();
        // A done operation is deleted at this time at the latest.
        let expires_at = match operation.life.state {
            State::Done { purge_at, .. } => purge_at.min(now.after(ttl)),
            _ => now.after(ttl),
        };
        let share = Share {
            tenant: operation.submission.tenant.clone(),
            operation: operation.id(),
            created_at: now,
            expires_at,
            created_by: caller.subject().unwrap_or_default().to_owned(),
            code: self.secret.code(PURPOSE, &[text.id().as_bytes(), &text.digest()]),
        };
        let made = shares.change::<_, ServiceError>(|before| {
            let delete = room_for(before, &share, now)?;
            Ok((Change { put: vec![(text.id().to_owned(), share.clone())], delete }, ()))
        });
        made.await?;
        let what = format!("{} {}", text.id(), share.operation);
        audit::changed(caller.actor(), "create-share", &what);
        Ok((text.text(), ShareRecord { id: text.id().to_owned(), share: Arc::new(share) }))
    }

    /// The shares of an operation that have not expired.
    pub async fn list_shares(
        &self,
        caller: &Caller,
        name: &OperationName,
    ) -> Result<Vec<ShareRecord>, ServiceError> {
        caller.may(Action::Share)?;
        let shares = self.shares()?;
        let (id, now) = (self.find(caller, name).await?.id(), self.now());
        let snapshot = shares.snapshot();
        let own = snapshot.iter().filter(|(_, it)| it.operation == id && it.expires_at > now);
        let own = own.map(|(id, share)| ShareRecord { id: id.to_owned(), share: share.clone() });
        Ok(own.collect())
    }

    /// Revokes a share of an operation permanently.
    pub async fn revoke_share(
        &self,
        caller: &Caller,
        name: &OperationName,
        share_id: &str,
    ) -> Result<(), ServiceError> {
        caller.may(Action::Share)?;
        let shares = self.shares()?;
        let operation = self.find(caller, name).await?.id();
        let revoked = shares.change::<_, ServiceError>(|before| {
            if before.get(share_id).is_none_or(|share| share.operation != operation) {
                let message = format!("{} has no share {}", operation.name(), echo(share_id));
                return Err(ServiceError::new(Reason::ShareNotFound, message));
            }
            Ok((Change::delete(share_id), ()))
        });
        revoked.await?;
        audit::changed(caller.actor(), "revoke-share", &format!("{share_id} {operation}"));
        Ok(())
    }

    /// The share's URL: only the absolute path if the public URL is unknown.
    pub fn share_url(&self, token: &str) -> String {
        let base = self.shares.as_ref().map_or("", |shares| &*shares.base);
        format!("{base}/v1/shares/{token}")
    }

    /// The caller with this token, and its operation. Unknown, wrong, expired and revoked tokens are all not found,
    /// with the same message.
    pub fn shared(&self, token: &str) -> Result<(Caller, OperationName), ServiceError> {
        let refused = || {
            let message = "there is no such share, or it has expired or was revoked";
            ServiceError::new(Reason::ShareNotFound, message)
        };
        let shares = self.shares()?;
        let given = KeyText::parse_as(PREFIX, token).ok_or_else(refused)?;
        let snapshot = shares.snapshot();
        let found = snapshot.get(given.id()).filter(|share| share.expires_at > self.now());
        let code = found.map_or(&[0; 32], |share| &share.code);
        let parts = [given.id().as_bytes(), &given.digest()];
        let is_right = self.secret.is_code(code, PURPOSE, &parts);
        let share = found.filter(|_| is_right).ok_or_else(refused)?;
        let caller = Caller::of_share(share.tenant.clone(), share.operation, given.id());
        Ok((caller, OperationName { tenant: None, id: share.operation }))
    }
}

/// The expired shares of all tenants, which the caller deletes; refuses if too many others remain.
fn room_for(
    before: &Snapshot<Share>,
    new: &Share,
    now: Timestamp,
) -> Result<Vec<String>, ServiceError> {
    let (good, old): (BTreeMap<_, _>, BTreeMap<_, _>) =
        before.iter().partition(|(_, it)| it.expires_at > now);
    let own = good.values().filter(|share| share.tenant == new.tenant);
    let (own, of_operation) =
        (own.clone().count(), own.filter(|share| share.operation == new.operation).count());
    let full = |what: String, most: usize| {
        let message =
            format!("{what} has {most} shares, the most that it may have: revoke one first");
        Err(ServiceError::new(Reason::ResourceExhausted, message))
    };
    if of_operation >= MAX_OF_OPERATION {
        return full(new.operation.name(), MAX_OF_OPERATION);
    }
    if own >= MAX_OF_TENANT {
        return full(format!("tenant {}", new.tenant), MAX_OF_TENANT);
    }
    Ok(old.into_keys().take(MAX_OF_TENANT).map(str::to_owned).collect())
}

/// The stored JSON. Times are in microseconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    tenant: String,
    operation: String,
    created_at: i64,
    expires_at: i64,
    #[serde(default)]
    created_by: String,
    code: String,
}

impl From<Share> for Stored {
    fn from(share: Share) -> Self {
        Self {
            tenant: share.tenant.to_string(),
            operation: share.operation.to_string(),
            created_at: share.created_at.micros(),
            expires_at: share.expires_at.micros(),
            created_by: share.created_by,
            code: share.code.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl TryFrom<Stored> for Share {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        Ok(Self {
            tenant: TenantId::parse(&stored.tenant).map_err(|rule| format!("tenant {rule}"))?,
            operation: OperationId::parse(&stored.operation)
                .map_err(|rule| format!("operation {rule}"))?,
            created_at: Timestamp::from_micros(stored.created_at),
            expires_at: Timestamp::from_micros(stored.expires_at),
            created_by: stored.created_by,
            code: bytes_of_hex(&stored.code).ok_or("code must be 64 hexadecimal digits")?,
        })
    }
}
