//! The HTTP request or response around a payload's bytes.
//!
//! Data and its rules only. Nothing here knows the meaning of a header field, except those that describe the payload
//! itself and those that are irrelevant when submissions are compared.

/// The request or the response whose body the payload was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpEnvelope {
    /// The method of a request; empty for a response.
    pub method: String,
    /// Path and query of a request, including the first slash; empty for a response.
    pub target: String,
    /// The status of a response; 0 for a request.
    pub status: u16,
    /// The header fields in order, except those that frame the message. `Content-Type` is here only if the payload's
    /// own media type does not say the same: see [`media_type`]. `Content-Length` is here only if the payload's size
    /// does not say the same: `0` of a request that states it, any value in the response to a HEAD.
    pub headers: Vec<HttpHeader>,
}

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpHeader {
    /// The name, in lower case.
    pub name: String,
    /// The value's bytes.
    pub value: Vec<u8>,
}

/// A part of an envelope that breaks a rule: its path, and the rule as part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEnvelope {
    /// The path within the envelope, e.g. `headers[3].name`.
    pub field: String,
    /// "must be …".
    pub rule: String,
}

/// Header fields that frame a message on one connection: never in an envelope.
const FRAMING: [&str; 2] = ["transfer-encoding", "connection"];

/// A header field whose name has one of these words carries a secret.
const SECRET_WORDS: [&str; 11] = [
    "authentication",
    "authorization",
    "cookie",
    "cookie2",
    "credential",
    "credentials",
    "jwt",
    "passwd",
    "password",
    "secret",
    "session",
];
/// A name that ends with one of these words carries a secret.
const SECRET_LAST_WORDS: [&str; 3] = ["apikey", "auth", "token"];
/// A name that ends with one of these words and `key` carries a secret.
const SECRET_KEYS: [&str; 6] = ["access", "api", "auth", "functions", "private", "subscription"];

/// Header fields in which a gateway states a request's origin.
const OF_GATEWAYS: [&str; 4] = ["forwarded", "true-client-ip", "via", "x-real-ip"];

/// Header fields that differ when the same request is sent again, or that are compared separately: the media type, and
/// the idempotency key, which is the same with and without quotes.
const OF_ONE_SENDING: [&str; 17] = [
    "b3",
    "content-length",
    "content-type",
    "date",
    "forwarded",
    "idempotency-key",
    "priority",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-amzn-trace-id",
    "x-correlation-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

impl HttpEnvelope {
    /// The maximum number of header fields.
    pub const MAX_HEADERS: usize = 1_000;
    /// The maximum size of method, target, names and values together, in bytes.
    pub const MAX_BYTES: usize = 256 << 10;

    /// The size of method, target, names and values together, in bytes.
    pub fn size_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|header| header.name.len() + header.value.len());
        self.method.len() + self.target.len() + headers.sum::<usize>()
    }

    /// Refuses what cannot be sent, or cannot be sent unchanged; returns all broken rules.
    pub fn check(&self) -> Result<(), Vec<InvalidEnvelope>> {
        let mut found = Vec::new();
        let mut wrong = |field: &str, rule: &str| {
            found.push(InvalidEnvelope { field: field.to_owned(), rule: rule.to_owned() });
        };
        match (self.status, self.method.as_str(), self.target.as_str()) {
            (0, "", "") => {
                wrong("status", "must be set for a response; a request must have method and target")
            }
            (0, method, target) => {
                if !is_token(method) || method.len() > 32 {
                    wrong("method", "must be an HTTP method of at most 32 characters");
                }
                if !target.starts_with('/') || !target.bytes().all(|b| matches!(b, b'!'..=b'~')) {
                    wrong("target", "must be a path and query of printable ASCII");
                } else if target.contains('#') {
                    wrong("target", "must not have a fragment");
                }
            }
            (200..=999, "", "") => {}
            (_, "", "") => wrong("status", "must be from 200 to 999"),
            _ => wrong("status", "must not be set beside method or target"),
        }
        if self.headers.len() > Self::MAX_HEADERS {
            wrong("headers", &format!("must be at most {}", Self::MAX_HEADERS));
        }
        for (at, header) in self.headers.iter().enumerate().take(Self::MAX_HEADERS) {
            if let Err((part, rule)) = header.check(self.status) {
                wrong(&format!("headers[{at}].{part}"), rule);
            }
        }
        if self.size_bytes() > Self::MAX_BYTES {
            let most = Self::MAX_BYTES >> 10;
            wrong(
                "headers",
                &format!("must be at most {most} KiB together with method and target"),
            );
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Like [`Self::check`], but also refuses fields that a client must not send: a request's origin, which only a
    /// gateway may state, and secrets, which operations do not keep.
    pub fn check_submitted(&self) -> Result<(), Vec<InvalidEnvelope>> {
        let mut found = self.check().err().unwrap_or_default();
        let headers = self.headers.iter().enumerate().take(Self::MAX_HEADERS);
        for (at, HttpHeader { name, .. }) in headers {
            let why = match name.as_str() {
                _ if is_of_gateways(name) => "which only a gateway may set",
                _ if is_credential(name) => {
                    "which looks like a credential, and credentials are not stored"
                }
                _ => continue,
            };
            let field = format!("headers[{at}].name");
            found.push(InvalidEnvelope { field, rule: format!("must not be {name}, {why}") });
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Adds a header field if there is room for it; returns whether there was.
    pub fn push(&mut self, header: HttpHeader) -> bool {
        let size = self.size_bytes() + header.name.len() + header.value.len();
        let fits = self.headers.len() < Self::MAX_HEADERS && size <= Self::MAX_BYTES;
        if fits {
            self.headers.push(header);
        }
        fits
    }

    /// The values of the fields with that name, in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.headers.iter().filter(move |header| header.name == name);
        fields.map(|header| header.value.as_slice())
    }

    /// The header fields by which two submissions differ. A request that is sent again has another trace and perhaps
    /// another route, and is the same.
    pub fn telling_headers(&self) -> impl Iterator<Item = &HttpHeader> {
        self.headers.iter().filter(|header| !OF_ONE_SENDING.contains(&header.name.as_str()))
    }
}

impl HttpHeader {
    /// `status` is the envelope's.
    fn check(&self, status: u16) -> Result<(), (&'static str, &'static str)> {
        if !is_token(&self.name) || self.name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(("name", "must be a header field's name in lower case"));
        }
        if FRAMING.contains(&self.name.as_str()) {
            return Err(("name", "must not be a field that frames messages"));
        }
        if self.name == "content-length" && status == 0 && self.value != b"0" {
            return Err(("name", "must not be content-length, which the payload's size states"));
        }
        // A character that ends a line or a string elsewhere would turn one field into two.
        if self.value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err(("value", "must not have control characters"));
        }
        Ok(())
    }
}

/// Whether a header field with that name, in lower case, looks like one that carries a secret.
pub fn is_credential(name: &str) -> bool {
    let mut words = name.split(['-', '_']).rev();
    let (last, before) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    SECRET_LAST_WORDS.contains(&last)
        || last == "key" && SECRET_KEYS.contains(&before)
        || name.split(['-', '_']).any(|word| SECRET_WORDS.contains(&word))
}

/// Whether a header field with that name, in lower case, states a request's origin.
pub fn is_of_gateways(name: &str) -> bool {
    OF_GATEWAYS.contains(&name) || name.starts_with("x-forwarded-")
}

/// The media type of a message with these `Content-Type` fields, and the fields that its envelope must keep because the
/// media type cannot express them: none, several, one that is too long or not printable ASCII, or the payload's
/// default. A single empty field means that the message had none.
pub fn media_type<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> (String, Vec<HttpHeader>) {
    const MAX_LEN: usize = 255;
    let fields: Vec<&[u8]> = fields.into_iter().collect();
    let readable = |text: &&str| {
        (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    let first = fields.first().and_then(|field| std::str::from_utf8(field).ok());
    if let (1, Some(said)) = (fields.len(), first.filter(readable))
        && said != "application/octet-stream"
    {
        return (said.to_owned(), Vec::new());
    }
    let essence = first.and_then(|said| said.split(';').next()).map(str::trim).filter(readable);
    let kept = if fields.is_empty() { vec![&b""[..]] } else { fields };
    let header =
        |value: &[u8]| HttpHeader { name: "content-type".to_owned(), value: value.to_vec() };
    (essence.unwrap_or_default().to_owned(), kept.into_iter().map(header).collect())
}

/// Whether the text is a token of RFC 9110, like methods and names of header fields.
fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

#[cfg(test)]
mod tests;
