//! API keys, both ways.

use super::time::{decode_timestamp, encode_timestamp};
use crate::operation::TenantId;
use crate::proto::v1;
use crate::service::keys::{KeyRecord, NewKey, Whose, kinds_of, roles_of};
use crate::service::{ServiceError, Violations};

/// A key to make.
pub fn new_key(request: v1::CreateKeyRequest, found: &mut Violations) -> Option<NewKey> {
    let mut note = |field: &str, rule: String| found.note(field, rule);
    let tenant = match request.tenant.as_str() {
        "" => None,
        name => TenantId::parse(name).map_err(|rule| note("tenant", rule.to_string())).ok(),
    };
    let roles = roles_of(&request.roles).map_err(|rule| note("roles", rule));
    let kinds = match request.kinds.as_slice() {
        [] => None,
        names => kinds_of(names).map_err(|rule| note("kinds", rule)).ok(),
    };
    let expires_at = request.expire_time.and_then(|time| {
        let at = decode_timestamp(&time);
        if at.is_none() {
            note("expire_time", "must be a time of the years 1 to 9999".to_owned());
        }
        at
    });
    // Violations have been noted; any of them refuses the message.
    Some(NewKey { tenant, roles: roles.ok()?, kinds, name: request.name, expires_at })
}

/// The keys to list.
pub fn whose(tenant: &str) -> Result<Whose, ServiceError> {
    match tenant {
        "" => Ok(Whose::Own),
        "-" => Ok(Whose::Everybodys),
        name => match TenantId::parse(name) {
            Ok(tenant) => Ok(Whose::Of(tenant)),
            Err(rule) => Err(ServiceError::invalid_field("tenant", rule.to_string())),
        },
    }
}

/// A key in a list.
pub fn key(record: &KeyRecord) -> v1::Key {
    let KeyRecord { id, key, last_used_at } = record;
    v1::Key {
        key_id: id.clone(),
        tenant: key.tenant.to_string(),
        roles: key.roles.iter().map(|role| role.to_string()).collect(),
        kinds: key.kinds.iter().flat_map(|kinds| kinds.iter()).map(ToString::to_string).collect(),
        name: key.name.clone(),
        create_time: Some(encode_timestamp(key.created_at)),
        expire_time: key.expires_at.map(encode_timestamp),
        revoke_time: key.revoked_at.map(encode_timestamp),
        last_use_time: last_used_at.map(encode_timestamp),
        created_by: key.created_by.clone(),
    }
}
