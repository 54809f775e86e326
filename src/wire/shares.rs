//! Shares of operations, both ways.

use std::time::Duration;

use super::time::{decode_duration, encode_timestamp};
use crate::proto::v1;
use crate::service::ServiceError;
use crate::service::shares::ShareRecord;

/// The lifetime of a share, if it is given.
pub fn ttl(ttl: Option<prost_types::Duration>) -> Result<Option<Duration>, ServiceError> {
    let read = |ttl| {
        let rule = "must be a duration from 1 s to 366 days, e.g. 86400s";
        decode_duration(&ttl).ok_or_else(|| ServiceError::invalid_field("ttl", rule))
    };
    ttl.map(read).transpose()
}

/// A share in a list.
pub fn share(record: &ShareRecord) -> v1::Share {
    let ShareRecord { id, share } = record;
    v1::Share {
        share_id: id.clone(),
        operation: share.operation.name(),
        create_time: Some(encode_timestamp(share.created_at)),
        expire_time: Some(encode_timestamp(share.expires_at)),
        created_by: share.created_by.clone(),
    }
}
