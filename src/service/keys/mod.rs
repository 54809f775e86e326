//! API keys: their makers, their permissions, and how a key identifies a caller.
//!
//! A key is looked up by its public id. The store has only a code of its secret, which is useless without the server's
//! secret. All keys are in memory (`catalogue`), so that a request costs no read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Caller, Reason, Role, Roles, ServiceError};
use crate::catalogue::{Catalogue, Change, ChangeError, Space};
use crate::operation::secret::Secret;
use crate::operation::{Kind, TenantId, Timestamp};
use crate::store::{Store, StoreError};

mod admin;
mod entry;
mod secret;
mod text;
mod uses;

pub use admin::{KeyListing, KeyRecord, MAX_KEYS, MAX_NAME_BYTES, Whose};
pub use entry::{Key, bytes_of_hex, kinds as kinds_of, roles as roles_of};
pub use secret::ServerSecret;
pub use text::{KeyText, PREFIX, is_id};
use uses::Uses;

/// All keys. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    space: Arc<Space<Key>>,
    secret: Secret,
    uses: Uses,
    /// The keys of the key file, by id.
    of_file: RwLock<Arc<HashMap<String, Key>>>,
    /// Whether the server's secret is known to fit the store's keys, or a warning has said that it may not.
    is_secret_judged: AtomicBool,
}

/// A key to make.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Its tenant; `None`: the caller's own.
    pub tenant: Option<TenantId>,
    /// The roles that it grants.
    pub roles: Roles,
    /// The kinds that it may execute; `None`: all.
    pub kinds: Option<Arc<[Kind]>>,
    /// The subject of calls with the key; may be empty.
    pub name: String,
    /// When it expires; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl Keys {
    /// Reads the keys of the store.
    pub async fn open(
        store: Arc<dyn Store>,
        catalogue: &mut Catalogue,
        secret: Secret,
    ) -> Result<Self, StoreError> {
        let space = catalogue.open().await?;
        let (uses, of_file) = (Uses::default(), RwLock::default());
        let is_secret_judged = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner { store, space, secret, uses, of_file, is_secret_judged })))
    }

    /// The server's secret.
    pub fn secret(&self) -> &Secret {
        &self.0.secret
    }

    /// Whether the store has a key that is neither expired nor revoked.
    pub fn has_some(&self, now: Timestamp) -> bool {
        self.0.space.snapshot().iter().any(|(_, key)| key.is_good(now))
    }

    /// Writes the keys' last uses until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (uses, store) = (self.0.uses.clone(), Arc::clone(&self.0.store));
        uses.run(store, stop).await;
    }

    /// Replaces the keys of the key file: the id, the SHA-256 of the key's text, and the permissions of each.
    pub fn set_file(&self, keys: impl IntoIterator<Item = (String, [u8; 32], NewKey)>) {
        let key = |(id, digest, new): (String, [u8; 32], NewKey)| {
            let code = self.code(&id, &digest);
            let key = Key::of(new, code, Timestamp::default(), "the key file");
            (id, key)
        };
        let keys = Arc::new(keys.into_iter().map(key).collect());
        *self.0.of_file.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The caller with this key. An unknown key and a wrong secret look the same, in text and in time.
    pub fn identify(&self, text: &str, now: Timestamp) -> Result<Caller, ServiceError> {
        let refused = |why: &str| Err(ServiceError::new(Reason::Unauthenticated, why));
        let Some(given) = KeyText::parse(text) else {
            return refused("the API key is mistyped or cut off: its checksum is wrong");
        };
        let (id, digest) = (given.id(), given.digest());
        let of_file = Arc::clone(&self.0.of_file.read().unwrap_or_else(PoisonError::into_inner));
        let stored = self.0.space.snapshot();
        let found = of_file.get(id).or_else(|| stored.get(id).map(|key| &**key));
        let code = found.map_or(&[0; 32], |key| &key.code);
        let is_right = self.0.secret.is_code(code, PURPOSE, &[id.as_bytes(), &digest]);
        if stored.get(id).is_some() && !of_file.contains_key(id) {
            self.judge_secret(id, is_right);
        }
        let Some(key) = found.filter(|_| is_right) else {
            return refused("there is no such API key");
        };
        if key.revoked_at.is_some() {
            return refused("the API key was revoked");
        }
        if !key.is_good(now) {
            return refused("the API key has expired");
        }
        self.0.uses.note(id, now);
        Ok(key.caller(id))
    }

    /// Warns once if the first use of a stored key does not fit its code: with another secret no key of the store does.
    fn judge_secret(&self, id: &str, is_right: bool) {
        let is_judged = &self.0.is_secret_judged;
        if !is_judged.load(Ordering::Relaxed)
            && !is_judged.swap(true, Ordering::Relaxed)
            && !is_right
        {
            tracing::warn!(
                key.id = id,
                "the store has an API key of this id, but the given one does not fit it: either it is forged, or this \
                 server's secret (--secret-file) is not the one with which the store's keys were made, and none of them \
                 is valid here"
            );
        }
    }

    /// Whether the store has any key, valid or not.
    pub fn has_any(&self) -> bool {
        !self.0.space.snapshot().is_empty()
    }

    /// Makes this the first key, of an operator who also administers the default tenant; false if the store has keys.
    pub async fn bootstrap(&self, text: &KeyText, now: Timestamp) -> Result<bool, ServiceError> {
        let new = NewKey {
            roles: [Role::Operator, Role::Admin].into_iter().collect(),
            name: "bootstrap".to_owned(),
            ..NewKey::default()
        };
        let made = self.0.space.change::<_, ServiceError>(|before| {
            let is_first = before.is_empty();
            let key = Key::of(
                new.clone(),
                self.code(text.id(), &text.digest()),
                now,
                "--bootstrap-key-file",
            );
            let put = is_first.then(|| (text.id().to_owned(), key));
            Ok((Change { put: put.into_iter().collect(), delete: Vec::new() }, is_first))
        });
        made.await
    }

    fn code(&self, id: &str, digest: &[u8; 32]) -> [u8; 32] {
        self.0.secret.code(PURPOSE, &[id.as_bytes(), digest])
    }
}

/// The purpose that codes of keys are bound to.
const PURPOSE: &str = "keys";

impl Key {
    fn of(new: NewKey, code: [u8; 32], created_at: Timestamp, created_by: &str) -> Self {
        let NewKey { tenant, roles, kinds, name, expires_at } = new;
        let tenant = tenant.unwrap_or_else(TenantId::default_tenant);
        let created_by = created_by.to_owned();
        Self {
            tenant,
            roles,
            kinds,
            name,
            created_at,
            expires_at,
            revoked_at: None,
            created_by,
            code,
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl From<ChangeError> for ServiceError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => {
                tracing::error!(%error, "the catalogue cannot be changed");
                let message = "the store cannot be reached: the change may have been made; check before you try again";
                Self {
                    retry_after: Some(Duration::from_secs(1)),
                    ..Self::new(Reason::Unavailable, message)
                }
            }
            error => Self::new(Reason::ResourceExhausted, error.to_string()),
        }
    }
}

fn generate() -> Result<KeyText, ServiceError> {
    KeyText::generate().map_err(|error| {
        tracing::error!(error, "no key can be made");
        ServiceError::new(Reason::Internal, "no key can be made")
    })
}

#[cfg(test)]
mod tests;
