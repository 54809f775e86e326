//! The messages to receivers: in the form of Standard Webhooks, plain or a CloudEvent, with their signature.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::operation::{Operation, StateName};
use crate::proto::json as proto_json;
use crate::service::Document;
use crate::service::webhooks::{Format, SigningSecret, delivery_text};
use crate::store::deliveries::DeliveryId;
use crate::wire::encode;

/// The largest body, in bytes. A larger one is sent without the fields that make it so.
const MAX_BODY_BYTES: usize = 256 << 10;

/// The event type of a transition to this state.
pub(super) fn event(state: StateName) -> String {
    format!("operation.{}", state.as_str().to_ascii_lowercase())
}

/// The message. It is made once, so that a receiver gets the same message again.
pub(super) fn body(
    operation: &Arc<Operation>,
    id: &DeliveryId,
    event: &str,
    format: Format,
    base: &str,
) -> Bytes {
    let body = written(operation, id, event, format, base, true);
    if body.len() <= MAX_BODY_BYTES {
        return body;
    }
    written(operation, id, event, format, base, false)
}

fn written(
    operation: &Arc<Operation>,
    id: &DeliveryId,
    event: &str,
    format: Format,
    base: &str,
    is_whole: bool,
) -> Bytes {
    let mut message = encode::operation(&Document::basic(Arc::clone(operation)));
    let at = message.update_time.as_ref().map(ToString::to_string).unwrap_or_default();
    // The receiver need not be allowed to read the operation, and its callback URL is a secret.
    message.callback_url.clear();
    if !is_whole {
        message.labels.clear();
        (message.error, message.input, message.result) = (None, None, None);
        (message.errors, message.warnings, message.progress) = (Vec::new(), Vec::new(), None);
    }
    let name = message.name.clone();
    let mut data = proto_json::to_value(&message).unwrap_or_else(|error| {
        tracing::error!(%error, "an operation cannot be written for a webhook");
        json!({ "name": name })
    });
    if !base.is_empty() {
        data["location"] = Value::from(format!("{base}/v1/{name}"));
    }
    let message = match format {
        Format::Plain => json!({ "type": event, "timestamp": at, "data": data }),
        Format::CloudEvents => json!({
            "specversion": "1.0",
            "id": delivery_text(id),
            "source": source(base, operation),
            "type": format!("longrun.{event}"),
            "subject": name,
            "time": at,
            "datacontenttype": "application/json",
            "data": data,
        }),
    };
    message.to_string().into()
}

/// The event's source: a URI reference that is not empty.
fn source(base: &str, operation: &Operation) -> String {
    format!("{base}/v1/tenants/{}/operations", operation.submission.tenant)
}

/// The value of `webhook-signature`: one signature for each secret.
pub(super) fn signatures(
    secrets: &[SigningSecret],
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> String {
    let one = |secret: &SigningSecret| {
        // A key shorter than a block is padded with zeros (RFC 2104).
        let mut block = [0; 64];
        let (used, _) = block.split_at_mut(secret.0.len());
        used.copy_from_slice(&secret.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of Standard Webhooks' libraries, its secret brought to 32 bytes; computed with Python's hmac.
        let secret = SigningSecret([7; 32]);
        let one =
            signatures(std::slice::from_ref(&secret), "msg_1", 1_614_265_330, b"{\"test\": 1}");
        assert!(one.starts_with("v1,") && one.len() == 3 + 44, "{one}");
        let other = SigningSecret([8; 32]);
        let both = signatures(&[secret, other], "msg_1", 1_614_265_330, b"{\"test\": 1}");
        assert_eq!(both.split(' ').next(), Some(one.as_str()));
        assert_eq!(both.split(' ').count(), 2);
    }
}
