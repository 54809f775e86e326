//! Limits of tenants, both ways.

use super::time::encode_timestamp;
use crate::operation::id::valid_label_key;
use crate::operation::limits::{Limit, LimitName};
use crate::operation::{Kind, Scope, TenantId};
use crate::proto::v1;
use crate::service::{LimitRecord, ServiceError, Violations};

/// A limit to set to `most`. Notes every broken rule, also of a limit whose other fields are wrong.
pub fn limit_to_set(
    [what, tenant, kind, label]: [&str; 4],
    most: u64,
    found: &mut Violations,
) -> Option<Limit> {
    let limit = limit_of([what, tenant, kind, label], found);
    let label = Some(label).filter(|label| !label.is_empty());
    match LimitName::read(what) {
        Ok(name) => {
            let is_odd_kind = !kind.is_empty() && Kind::parse(kind).is_err();
            let broken = name.broken(!kind.is_empty(), label, most);
            for (field, rule) in broken.into_iter().filter(|it| it.0 != "kind" || !is_odd_kind) {
                found.note(field, rule);
            }
        }
        // Its own rule has been noted. The label has one that is the same for every limit.
        Err(_) => {
            if let Some(Err(rule)) = label.map(valid_label_key) {
                found.note("label", rule.to_string());
            }
        }
    }
    limit
}

/// A limit by its name, tenant, kind and label; all but the name may be empty.
pub fn limit_of([what, tenant, kind, label]: [&str; 4], found: &mut Violations) -> Option<Limit> {
    let name = LimitName::read(what).map_err(|rule| found.note("what", rule)).ok();
    let tenant = found.take(tenant_of(tenant));
    let kind = match kind {
        "" => Some(None),
        kind => {
            Kind::parse(kind).map_err(|rule| found.note("kind", rule.to_string())).ok().map(Some)
        }
    };
    let label = (!label.is_empty()).then(|| label.to_owned());
    Some(Limit { name: name?, tenant: tenant?, kind: kind?, label })
}

/// The tenant, if the name is not empty.
pub fn tenant_of(tenant: &str) -> Result<Option<TenantId>, ServiceError> {
    match tenant {
        "" => Ok(None),
        name => TenantId::parse(name)
            .map(Some)
            .map_err(|rule| ServiceError::invalid_field("tenant", rule.to_string())),
    }
}

/// A kind and its tenant: empty for the caller's own, `-` for all.
pub fn kind_of(kind: &str, tenant: &str, found: &mut Violations) -> Option<(Kind, Option<Scope>)> {
    let kind = Kind::parse(kind).map_err(|rule| found.note("kind", rule.to_string())).ok();
    let whose = match tenant {
        "-" => Some(Some(Scope::All)),
        tenant => found.take(tenant_of(tenant)).map(|tenant| tenant.map(Scope::from)),
    };
    kind.zip(whose)
}

/// A limit in a list.
pub fn limit(record: LimitRecord) -> v1::Limit {
    let LimitRecord { limit, most, configured, set } = record;
    let (set_at, set_by) = set.unzip();
    v1::Limit {
        what: limit.name.as_str().to_owned(),
        tenant: limit.tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
        kind: limit.kind.map(|kind| kind.to_string()).unwrap_or_default(),
        label: limit.label.unwrap_or_default(),
        most,
        configured_most: configured,
        set_time: set_at.map(encode_timestamp),
        set_by: set_by.unwrap_or_default(),
    }
}
