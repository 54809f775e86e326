//! Bytes with a content type: inputs and results.

use std::sync::Arc;

use bytes::Bytes;

use super::closed_set::closed_set;
use super::{HttpEnvelope, ObjectId};

closed_set! {
    /// The form of a payload as submitted and as returned. The numbers are those of the database and of fingerprints.
    pub enum PayloadForm {
        /// Any bytes.
        Data = 0,
        /// UTF-8 text.
        Text = 1,
        /// A JSON text (RFC 8259).
        Json = 2,
        /// The value of a `google.protobuf.Any`; its type URL is stored separately.
        Any = 3,
    }
}

/// A payload's description, without its contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PayloadInfo {
    /// The media type (RFC 9110), never empty.
    pub content_type: String,
    /// The form in which it was submitted.
    pub form: PayloadForm,
    /// The type URL of an `Any`, verbatim; empty for the other forms.
    pub type_url: String,
    /// Size of the contents in bytes.
    pub size_bytes: u64,
    /// The request or the response around it, if it was a body.
    pub http: Option<Arc<HttpEnvelope>>,
    /// The object that holds the contents, if they are too large for a row.
    pub object: Option<StoredObject>,
}

/// Contents in the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredObject {
    /// The object. It belongs to this payload alone.
    pub id: ObjectId,
    /// The SHA-256 of the contents.
    pub sha256: [u8; 32],
}

/// A payload with its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Everything except the contents.
    pub info: PayloadInfo,
    /// The contents, exactly as given; empty if an object holds them.
    pub data: Bytes,
}

impl Payload {
    /// A payload of `form` (not `Any`); an empty `content_type` becomes the form's default.
    pub fn new(form: PayloadForm, content_type: &str, data: Bytes) -> Self {
        Self::with_type_url(form, content_type, String::new(), data)
    }

    /// The value of an `Any` under its type URL.
    pub fn any(content_type: &str, type_url: String, data: Bytes) -> Self {
        Self::with_type_url(PayloadForm::Any, content_type, type_url, data)
    }

    /// A payload whose form follows from its bytes: JSON if the content type says so and they parse, text if it is
    /// `text/*` and they are UTF-8, else data.
    pub fn sniffed(content_type: &str, data: Bytes) -> Self {
        let essence = essence(content_type);
        let form = if is_json(content_type) {
            match serde_json::from_slice::<serde::de::IgnoredAny>(&data) {
                Ok(_) => PayloadForm::Json,
                Err(_) => PayloadForm::Data,
            }
        } else if essence.starts_with("text/") && std::str::from_utf8(&data).is_ok() {
            PayloadForm::Text
        } else {
            PayloadForm::Data
        };
        Self::new(form, content_type, data)
    }

    /// A payload whose contents an object holds. The contents are not examined: the form is data.
    pub fn in_object(content_type: &str, object: StoredObject, size_bytes: u64) -> Self {
        let mut payload = Self::new(PayloadForm::Data, content_type, Bytes::new());
        (payload.info.object, payload.info.size_bytes) = (Some(object), size_bytes);
        payload
    }

    fn with_type_url(form: PayloadForm, content_type: &str, type_url: String, data: Bytes) -> Self {
        let content_type = match (content_type, form) {
            ("", PayloadForm::Data) => "application/octet-stream",
            ("", PayloadForm::Text) => "text/plain; charset=utf-8",
            ("", PayloadForm::Json) => "application/json",
            ("", PayloadForm::Any) => "application/protobuf",
            (given, _) => given,
        };
        let info = PayloadInfo {
            content_type: content_type.to_owned(),
            form,
            type_url,
            size_bytes: data.len() as u64,
            http: None,
            object: None,
        };
        Self { info, data }
    }

    /// The same payload as the body of a request or a response.
    pub fn within(mut self, envelope: HttpEnvelope) -> Self {
        self.info.http = Some(Arc::new(envelope));
        self
    }
}

/// Whether a media type is JSON.
pub fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json" || essence.ends_with("+json")
}

/// A media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
