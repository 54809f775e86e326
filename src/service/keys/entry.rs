//! A stored key: everything but the key itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalogue::Entry;
use crate::operation::{Kind, TenantId, Timestamp};
use crate::service::{Caller, Role, Roles};

/// An API key's permissions, and the code that recognizes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Key {
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// The roles that it grants.
    pub roles: Roles,
    /// The kinds that it may execute; `None`: all.
    pub kinds: Option<Arc<[Kind]>>,
    /// The subject of calls with the key; may be empty.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The subject that made it.
    pub created_by: String,
    /// The code of its id and its secret.
    pub(super) code: [u8; 32],
}

impl Entry for Key {
    const SPACE: &'static str = "keys";
}

impl Key {
    /// Whether it is neither revoked nor expired.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// When it was revoked or expired, if it was.
    pub(super) fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        let expired = self.expires_at.filter(|end| *end <= now);
        self.revoked_at.into_iter().chain(expired).min()
    }

    /// The caller with this key.
    pub(super) fn caller(&self, id: &str) -> Caller {
        let credential = format!("key:{id}");
        let subject = if self.name.is_empty() { credential.clone() } else { self.name.clone() };
        let caller = Caller::of(self.tenant.clone(), self.roles)
            .with_subject(subject)
            .with_credential(credential);
        match &self.kinds {
            Some(kinds) => caller.with_kinds(Arc::clone(kinds)),
            None => caller,
        }
    }
}

/// The stored JSON. Times are in microseconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    tenant: String,
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<String>>,
    #[serde(default)]
    name: String,
    created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<i64>,
    #[serde(default)]
    created_by: String,
    code: String,
}

impl From<Key> for Stored {
    fn from(key: Key) -> Self {
        Self {
            tenant: key.tenant.to_string(),
            roles: key.roles.iter().map(|role| role.to_string()).collect(),
            kinds: key.kinds.map(|kinds| kinds.iter().map(ToString::to_string).collect()),
            name: key.name,
            created_at: key.created_at.micros(),
            expires_at: key.expires_at.map(Timestamp::micros),
            revoked_at: key.revoked_at.map(Timestamp::micros),
            created_by: key.created_by,
            code: key.code.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl TryFrom<Stored> for Key {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        Ok(Self {
            tenant: TenantId::parse(&stored.tenant).map_err(|rule| format!("tenant {rule}"))?,
            roles: roles(&stored.roles)?,
            kinds: stored.kinds.as_deref().map(kinds).transpose()?,
            name: stored.name,
            created_at: Timestamp::from_micros(stored.created_at),
            expires_at: stored.expires_at.map(Timestamp::from_micros),
            revoked_at: stored.revoked_at.map(Timestamp::from_micros),
            created_by: stored.created_by,
            code: bytes_of_hex(&stored.code).ok_or("code must be 64 hexadecimal digits")?,
        })
    }
}

/// Parses the names of roles.
pub fn roles(names: &[String]) -> Result<Roles, String> {
    let all = || Role::ALL.map(Role::as_str).join(", ");
    let role = |name: &String| {
        Role::parse(name).ok_or_else(|| format!("{name:?} must be one of {}, e.g. submit", all()))
    };
    names.iter().map(role).collect()
}

/// Parses the names of kinds.
pub fn kinds(names: &[String]) -> Result<Arc<[Kind]>, String> {
    let kind = |name: &String| Kind::parse(name).map_err(|rule| format!("a kind {rule}"));
    names.iter().map(kind).collect()
}

/// 32 bytes as hexadecimal digits.
pub fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
