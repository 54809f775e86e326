//! The common parts of submissions and lives: payloads, durations, times, errors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Damage;
use crate::operation::{
    ErrorSource, HttpEnvelope, HttpHeader, ObjectId, OperationError, PayloadForm, PayloadInfo,
    StoredObject, Timestamp,
};

/// A payload without its contents.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PayloadMessage {
    /// The number of the form.
    #[prost(uint32, tag = "1")]
    form: u32,
    #[prost(uint64, tag = "2")]
    size_bytes: u64,
    /// Absent for the form's default.
    #[prost(string, optional, tag = "3")]
    content_type: Option<String>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(message, optional, tag = "5")]
    http: Option<HttpMessage>,
    #[prost(message, optional, tag = "6")]
    object: Option<ObjectMessage>,
}

/// The object that holds a payload's contents.
#[derive(Clone, PartialEq, prost::Message)]
struct ObjectMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    sha256: Vec<u8>,
}

/// The request or the response around a payload.
#[derive(Clone, PartialEq, prost::Message)]
struct HttpMessage {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(string, tag = "2")]
    target: String,
    #[prost(uint32, tag = "3")]
    status: u32,
    #[prost(message, repeated, tag = "4")]
    headers: Vec<HeaderMessage>,
}

/// A header field.
#[derive(Clone, PartialEq, prost::Message)]
struct HeaderMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// A span of time, exact.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct DurationMessage {
    #[prost(uint64, tag = "1")]
    seconds: u64,
    #[prost(uint32, tag = "2")]
    nanos: u32,
}

/// An error with its causes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ErrorMessage {
    #[prost(string, tag = "1")]
    code: String,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(uint32, tag = "3")]
    status_code: u32,
    #[prost(btree_map = "string, string", tag = "4")]
    metadata: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "5")]
    causes: Vec<Self>,
    /// Whether the service reports it, not the application.
    #[prost(bool, tag = "6")]
    from_service: bool,
}

/// The difference to `base`, for [`time_at`]. Wraps around, so that every time has a difference.
pub(super) fn offset(time: Timestamp, base: Timestamp) -> i64 {
    time.micros().wrapping_sub(base.micros())
}

/// The time with this difference to `base`.
pub(super) fn time_at(offset: i64, base: Timestamp) -> Timestamp {
    Timestamp::from_micros(base.micros().wrapping_add(offset))
}

impl From<Duration> for DurationMessage {
    fn from(duration: Duration) -> Self {
        Self { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
    }
}

impl DurationMessage {
    pub(super) fn decode(self) -> Result<Duration, Damage> {
        if self.nanos >= 1_000_000_000 {
            return Err(Damage("a duration has too many nanoseconds".to_owned()));
        }
        Ok(Duration::new(self.seconds, self.nanos))
    }
}

/// The content type that is not stored. Part of the format, so it must not change.
fn usual_content_type(form: PayloadForm) -> &'static str {
    match form {
        PayloadForm::Data => "application/octet-stream",
        PayloadForm::Text => "text/plain; charset=utf-8",
        PayloadForm::Json => "application/json",
        PayloadForm::Any => "application/protobuf",
    }
}

impl PayloadMessage {
    pub(super) fn encode(info: &PayloadInfo) -> Self {
        let is_usual = info.content_type == usual_content_type(info.form);
        Self {
            form: u32::from(info.form.number()),
            size_bytes: info.size_bytes,
            content_type: (!is_usual).then(|| info.content_type.clone()),
            type_url: info.type_url.clone(),
            http: info.http.as_deref().map(HttpMessage::encode),
            object: info.object.as_ref().map(ObjectMessage::encode),
        }
    }

    pub(super) fn decode(self) -> Result<PayloadInfo, Damage> {
        let form = u8::try_from(self.form).ok().and_then(PayloadForm::from_number);
        let form = form.ok_or_else(|| Damage(format!("there is no payload form {}", self.form)))?;
        let content_type = self.content_type.unwrap_or_else(|| usual_content_type(form).to_owned());
        let http = self.http.map(HttpMessage::decode).transpose()?.map(Arc::new);
        let (type_url, size_bytes) = (self.type_url, self.size_bytes);
        let object = self.object.map(ObjectMessage::decode).transpose()?;
        Ok(PayloadInfo { content_type, form, type_url, size_bytes, http, object })
    }
}

impl ObjectMessage {
    fn encode(object: &StoredObject) -> Self {
        Self { id: object.id.as_bytes().to_vec(), sha256: object.sha256.to_vec() }
    }

    fn decode(self) -> Result<StoredObject, Damage> {
        match (self.id.try_into(), self.sha256.try_into()) {
            (Ok(id), Ok(sha256)) => Ok(StoredObject { id: ObjectId::from_bytes(id), sha256 }),
            _ => Err(Damage("an object's id or digest has another length".to_owned())),
        }
    }
}

impl HttpMessage {
    fn encode(envelope: &HttpEnvelope) -> Self {
        let header = |header: &HttpHeader| HeaderMessage {
            name: header.name.clone(),
            value: header.value.clone(),
        };
        Self {
            method: envelope.method.clone(),
            target: envelope.target.clone(),
            status: u32::from(envelope.status),
            headers: envelope.headers.iter().map(header).collect(),
        }
    }

    fn decode(self) -> Result<HttpEnvelope, Damage> {
        let status = u16::try_from(self.status)
            .map_err(|_| Damage(format!("there is no HTTP status {}", self.status)))?;
        let header = |HeaderMessage { name, value }| HttpHeader { name, value };
        let headers = self.headers.into_iter().map(header).collect();
        Ok(HttpEnvelope { method: self.method, target: self.target, status, headers })
    }
}

impl ErrorMessage {
    pub(super) fn encode(error: &OperationError) -> Self {
        Self {
            code: error.code.clone(),
            message: error.message.clone(),
            status_code: u32::from(error.status_code),
            metadata: error.metadata.clone(),
            causes: Self::encode_all(&error.causes),
            from_service: error.source == ErrorSource::Service,
        }
    }

    pub(super) fn encode_all(errors: &[OperationError]) -> Vec<Self> {
        errors.iter().map(Self::encode).collect()
    }

    // Recursion is bounded, because prost refuses messages that nest too deeply.
    pub(super) fn decode(self) -> Result<OperationError, Damage> {
        let status_code = u8::try_from(self.status_code)
            .map_err(|_| Damage(format!("there is no status code {}", self.status_code)))?;
        Ok(OperationError {
            code: self.code,
            message: self.message,
            status_code,
            metadata: self.metadata,
            causes: Self::decode_all(self.causes)?,
            source: match self.from_service {
                true => ErrorSource::Service,
                false => ErrorSource::Application,
            },
        })
    }

    pub(super) fn decode_all(errors: Vec<Self>) -> Result<Vec<OperationError>, Damage> {
        errors.into_iter().map(Self::decode).collect()
    }
}
