//! The data of a delivery that stores do not query, as JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::operation::{OperationId, Revision};
use crate::store::deliveries::DeliveryId;

/// The prefix of ids.
const PREFIX: &str = "msg_";

/// The id of a delivery: the same whichever replica makes it, and however often.
pub fn delivery_id(operation: OperationId, revision: Revision, webhook: &str) -> DeliveryId {
    let mut hash = Sha256::new();
    hash.update(b"webhook delivery\0");
    hash.update(operation.as_bytes());
    hash.update(revision.0.to_be_bytes());
    hash.update(webhook.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    id
}

/// An id in the form that receivers get.
pub fn delivery_text(id: &DeliveryId) -> String {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    PREFIX.to_owned() + &hex
}

/// Parses that form.
pub(super) fn parse_id(text: &str) -> Option<DeliveryId> {
    let hex = text.strip_prefix(PREFIX).filter(|hex| hex.len() == 32 && hex.is_ascii())?;
    let mut id = [0; 16];
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    // Only the canonical form is accepted.
    (delivery_text(&id) == text).then_some(id)
}

/// The data of a delivery that stores do not query. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The webhook's name.
    pub webhook: String,
    /// The operation's id.
    pub operation: String,
    /// The operation's revision after the transition.
    pub revision: u64,
    /// The type of its event: `operation.succeeded`.
    pub event: String,
    /// The receiver's URL.
    pub url: String,
    /// The media type of the body.
    pub content_type: String,
    /// When it was stored.
    pub created_at: i64,
    /// The end of the tries.
    pub give_up_at: i64,
    /// The number of tries.
    #[serde(default)]
    pub attempts: u32,
    /// The time of the last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_at: Option<i64>,
    /// The status of the last response, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The error of the last try; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

impl Record {
    /// Encodes the record for the store.
    pub fn encode(&self) -> Bytes {
        // Texts and numbers always become JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Decodes a stored record; `None` if it cannot be read.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_operation_revision_and_receiver() {
        let of = |operation: u8, revision, webhook| {
            delivery_id(OperationId::from_bytes([operation; 16]), Revision(revision), webhook)
        };
        let id = of(1, 2, "a");
        assert_eq!(id, of(1, 2, "a"));
        for other in [of(2, 2, "a"), of(1, 3, "a"), of(1, 2, "b")] {
            assert_ne!(id, other);
        }
        let text = delivery_text(&id);
        assert_eq!((text.len(), parse_id(&text)), (36, Some(id)));
        for wrong in ["", "msg_", &text[..35], &text.to_uppercase(), &text.replace("msg_", "")] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}
