//! STUB, to be discarded for the real one: the JSON form of messages.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(super::DESCRIPTORS).ok());

/// STUB: why not.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct JsonError {
    /// What is wrong.
    pub message: String,
}

/// STUB: the message as a JSON value.
pub fn to_value<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    let failed = |message: &str| JsonError { message: message.to_owned() };
    let pool = POOL.as_ref().ok_or_else(|| failed("no descriptors"))?;
    let descriptor =
        pool.get_message_by_name(&M::full_name()).ok_or_else(|| failed("no descriptor"))?;
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).map_err(|error| failed(&error.to_string()))?;
    serde_json::to_value(dynamic).map_err(|error| failed(&error.to_string()))
}
