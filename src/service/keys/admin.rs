//! Makes, lists and revokes keys: permissions and limits.

use std::sync::Arc;
use std::time::Duration;

use super::text::KeyText;
use super::{Key, Keys, NewKey, generate};
use crate::catalogue::{Change, ChangeError, Snapshot};
use crate::operation::{TenantId, Timestamp};
use crate::service::page::PageRequest;
use crate::service::{
    Action, Caller, Reason, Role, Service, ServiceError, Violations, audit, echo,
};

/// The maximum number of a tenant's keys.
pub const MAX_KEYS: usize = 1_000;
/// The maximum length of a key's name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// The longest lifetime of a key.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// How long expired and revoked keys are listed, once others are made.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The default number of keys on a page.
const PAGE: usize = 50;

/// A key as it is listed.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Its public id.
    pub id: String,
    /// The roles that it grants.
    pub key: Arc<Key>,
    /// When it was last used, to a minute.
    pub last_used_at: Option<Timestamp>,
}

/// A choice of tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// The caller's own tenant.
    #[default]
    Own,
    /// A tenant.
    Of(TenantId),
    /// All tenants.
    Everybodys,
}

/// A valid request for a page of keys.
#[derive(Clone, Debug)]
pub struct KeyListing {
    whose: Whose,
    page: PageRequest,
}

impl KeyListing {
    /// A request for at most `page_size` keys (0: the default) after `page_token` (empty: the first). `whose` is `None` if
    /// it is wrong. Notes every broken rule.
    pub fn read(
        caller: &Caller,
        whose: Option<Whose>,
        page_size: i32,
        page_token: &str,
        found: &mut Violations,
    ) -> Option<Self> {
        let tenant = match &whose {
            Some(Whose::Of(tenant)) => tenant.as_str(),
            Some(Whose::Everybodys) => "-",
            Some(Whose::Own) | None => caller.tenant.as_str(),
        };
        let page = PageRequest::read(&["keys", tenant], (page_size, PAGE), page_token, found);
        Some(Self { whose: whose?, page: page? })
    }
}

impl Service {
    fn keys(&self) -> Result<&Keys, ServiceError> {
        self.keys.as_ref().ok_or_else(|| {
            ServiceError::new(Reason::Unsupported, "this server was set up without API keys")
        })
    }

    /// Makes a key. Only this call returns its text.
    pub async fn create_key(
        &self,
        caller: &Caller,
        new: NewKey,
    ) -> Result<(KeyText, KeyRecord), ServiceError> {
        caller.may(Action::Administer)?;
        let keys = self.keys()?;
        let tenant = self.tenant_for(caller, new.tenant.clone())?;
        let (now, new) = (self.now(), NewKey { tenant: Some(tenant.clone()), ..new });
        check(caller, &new, now)?;
        let text = generate()?;
        let made_by = caller.subject().unwrap_or_default();
        let key = Key::of(new, keys.code(text.id(), &text.digest()), now, made_by);
        let made = keys.0.space.change::<_, ServiceError>(|before| {
            let old = out_of_date(before, &tenant, now);
            let own = before.iter().filter(|(_, key)| key.tenant == tenant).count();
            if own - old.len() >= MAX_KEYS {
                let message = format!(
                    "tenant {tenant} has {MAX_KEYS} keys, the most that it may have; revoked and expired ones count \
                     for 30 days"
                );
                return Err(ServiceError::new(Reason::ResourceExhausted, message));
            }
            let put = vec![(text.id().to_owned(), key.clone())];
            Ok((Change { put, delete: old.clone() }, old))
        });
        let gone = made.await?;
        if !gone.is_empty()
            && let Err(error) = keys.0.uses.write(&*keys.0.store, gone).await
        {
            tracing::debug!(%error, "the last uses of keys that are gone stay");
        }
        audit::changed(caller.actor(), "create-key", text.id());
        let record = KeyRecord { id: text.id().to_owned(), key: key.into(), last_used_at: None };
        Ok((text, record))
    }

    /// A page of keys by id, and the token of the next page.
    pub async fn list_keys(
        &self,
        caller: &Caller,
        listing: KeyListing,
    ) -> Result<(Vec<KeyRecord>, String), ServiceError> {
        caller.may(Action::Administer)?;
        let keys = self.keys()?;
        let KeyListing { whose, page } = listing;
        let tenant = match whose {
            Whose::Own => Some(caller.tenant.clone()),
            Whose::Of(tenant) => Some(self.tenant_for(caller, Some(tenant))?),
            Whose::Everybodys => {
                caller.may(Action::Operate)?;
                None
            }
        };
        let size = page.limit;
        let after =
            page.after.map(|position| String::from_utf8_lossy(&position[..16]).into_owned());
        let snapshot = keys.0.space.snapshot();
        let used = keys.0.uses.known(&*keys.0.store).await.map_err(ChangeError::Store)?;
        let mut records: Vec<KeyRecord> = snapshot
            .after(after.as_deref().unwrap_or_default())
            .filter(|(_, key)| tenant.as_ref().is_none_or(|tenant| key.tenant == *tenant))
            .take(size + 1)
            .map(|(id, key)| record(id, key, used.get(id).copied()))
            .collect();
        let has_more = records.len() > size;
        records.truncate(size);
        let last = records.last().filter(|_| has_more);
        let next = last.map_or_else(String::new, |last| {
            let mut position = [0; 24];
            position.iter_mut().zip(last.id.bytes()).for_each(|(to, from)| *to = from);
            page.token(position)
        });
        Ok((records, next))
    }

    /// Revokes a key permanently.
    pub async fn revoke_key(&self, caller: &Caller, id: &str) -> Result<KeyRecord, ServiceError> {
        caller.may(Action::Administer)?;
        let (keys, now) = (self.keys()?, self.now());
        let revoked = keys.0.space.change::<_, ServiceError>(|before| {
            let found = before
                .get(id)
                .filter(|key| key.tenant == caller.tenant || caller.can(Action::Operate));
            let Some(found) = found else {
                let message = format!("there is no key {}", echo(id));
                return Err(ServiceError::new(Reason::KeyNotFound, message));
            };
            if found.roles.has(Role::Operator) {
                caller.may(Action::Operate)?;
            }
            let revoked_at = Some(found.revoked_at.unwrap_or(now));
            let key = Key { revoked_at, ..Key::clone(found) };
            Ok((Change::put(id, key.clone()), Arc::new(key)))
        });
        let key = revoked.await?;
        audit::changed(caller.actor(), "revoke-key", id);
        Ok(record(id, &key, None))
    }

    /// The requested tenant, which must be the caller's own unless the caller is an operator.
    pub(in crate::service) fn tenant_for(
        &self,
        caller: &Caller,
        asked: Option<TenantId>,
    ) -> Result<TenantId, ServiceError> {
        match asked {
            Some(asked) if asked != caller.tenant => {
                caller.may(Action::Operate)?;
                Ok(asked)
            }
            _ => Ok(caller.tenant.clone()),
        }
    }
}

fn record(id: &str, key: &Arc<Key>, last_used_at: Option<Timestamp>) -> KeyRecord {
    KeyRecord { id: id.to_owned(), key: Arc::clone(key), last_used_at }
}

/// The tenant's keys that expired or were revoked long ago.
fn out_of_date(keys: &Snapshot<Key>, tenant: &TenantId, now: Timestamp) -> Vec<String> {
    let is_old = |key: &Key| key.ended_at(now).is_some_and(|end| now.since(end) > KEPT);
    let old = keys.iter().filter(|(_, key)| key.tenant == *tenant && is_old(key));
    old.map(|(id, _)| id.to_owned()).collect()
}

/// Refuses a key that breaks a rule, or that has a permission which its maker may not grant.
fn check(caller: &Caller, new: &NewKey, now: Timestamp) -> Result<(), ServiceError> {
    let mut found = Violations::default();
    if new.roles.is_empty() {
        let all = Role::ALL.map(Role::as_str).join(", ");
        found.note("roles", format!("must be some of {all}, e.g. submit and read"));
    }
    if new.kinds.is_some() && !new.roles.has(Role::Work) {
        found.note("kinds", "must be empty without the role work");
    } else if new.kinds.as_ref().is_some_and(|kinds| !(1..=100).contains(&kinds.len())) {
        found.note("kinds", "must have from 1 to 100 entries, or none for all kinds");
    }
    if new.name.len() > MAX_NAME_BYTES || new.name.chars().any(char::is_control) {
        found.note(
            "name",
            format!("must be at most {MAX_NAME_BYTES} bytes without control characters"),
        );
    }
    let end = new.expires_at;
    if end.is_some_and(|end| end <= now || end.since(now) > LONGEST) {
        found.note("expire_time", "must be later than now, by at most ten years");
    }
    found.check()?;
    if new.roles.has(Role::Operator) {
        caller.may(Action::Operate)?;
    }
    Ok(())
}
