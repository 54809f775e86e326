//! How a payload was, or is to be, spoken over HTTP: the request or the response around the bytes.
//!
//! Data and its rules only; nothing here knows a header's meaning, but for those that the payload states itself
//! and those that say nothing about what is asked for.

/// The request or the response that a payload was the body of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpEnvelope {
    /// The method of a request; empty for a response.
    pub method: String,
    /// Path and query of a request, from its slash on; empty for a response.
    pub target: String,
    /// The status of a response; 0 for a request.
    pub status: u16,
    /// The header fields in their order, but for `Content-Type` and what frames the message.
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

/// A part of an envelope that breaks a rule: its path, and the rule as a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEnvelope {
    /// The path within the envelope, e.g. `headers[3].name`.
    pub field: String,
    /// "must be …".
    pub rule: String,
}

/// Header fields that the payload itself states, or that belong to one connection: never within an envelope.
const FRAMING: [&str; 4] = ["content-type", "content-length", "transfer-encoding", "connection"];

/// Header fields that differ from one sending of the same request to the next.
const OF_ONE_SENDING: [&str; 14] = [
    "b3",
    "date",
    "forwarded",
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
    /// Most header fields.
    pub const MAX_HEADERS: usize = 100;
    /// Most bytes of method, target, names and values together.
    pub const MAX_BYTES: usize = 32 << 10;

    /// Bytes of method, target, names and values together.
    pub fn size_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|header| header.name.len() + header.value.len());
        self.method.len() + self.target.len() + headers.sum::<usize>()
    }

    /// Refuses what could not be spoken, or not without becoming something else on the way.
    pub fn check(&self) -> Result<(), InvalidEnvelope> {
        let wrong = |field: &str, rule: &str| {
            Err(InvalidEnvelope { field: field.to_owned(), rule: rule.to_owned() })
        };
        match (self.status, self.method.as_str(), self.target.as_str()) {
            (0, "", "") => return wrong("status", "must be set, or method and target must be"),
            (0, method, target) => {
                if !is_token(method) || method.len() > 32 {
                    return wrong("method", "must be an HTTP method of at most 32 characters");
                }
                if !target.starts_with('/') || !target.bytes().all(|b| matches!(b, b'!'..=b'~')) {
                    return wrong("target", "must be a path and query of printable ASCII");
                }
                if target.contains('#') {
                    return wrong("target", "must not have a fragment");
                }
            }
            (200..=599, "", "") => {}
            (_, "", "") => return wrong("status", "must be from 200 to 599"),
            _ => return wrong("status", "must not be set beside method or target"),
        }
        if self.headers.len() > Self::MAX_HEADERS {
            return wrong("headers", "must be at most 100");
        }
        for (at, header) in self.headers.iter().enumerate() {
            header.check().map_err(|(part, rule)| InvalidEnvelope {
                field: format!("headers[{at}].{part}"),
                rule: rule.to_owned(),
            })?;
        }
        if self.size_bytes() > Self::MAX_BYTES {
            return wrong("headers", "must be at most 32 KiB together with method and target");
        }
        Ok(())
    }

    /// The header fields that say what is asked for or answered, and so tell two submissions apart. A request
    /// that is sent again has another trace, perhaps another way here, and is the same.
    pub fn telling_headers(&self) -> impl Iterator<Item = &HttpHeader> {
        self.headers.iter().filter(|header| !OF_ONE_SENDING.contains(&header.name.as_str()))
    }
}

impl HttpHeader {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !is_token(&self.name) || self.name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(("name", "must be a header field's name in lower case"));
        }
        if FRAMING.contains(&self.name.as_str()) {
            let rule = "must not be content-type, which the payload states, nor a field that \
                        frames messages";
            return Err(("name", rule));
        }
        // What ends a line or a string elsewhere would make two fields of one.
        if self.value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err(("value", "must not have control characters"));
        }
        Ok(())
    }
}

/// Whether the text is a token of RFC 9110, as methods and names of header fields are.
fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str) -> HttpEnvelope {
        let (method, target) = (method.to_owned(), target.to_owned());
        HttpEnvelope { method, target, ..HttpEnvelope::default() }
    }

    fn response(status: u16, headers: &[(&str, &[u8])]) -> HttpEnvelope {
        let headers = headers
            .iter()
            .map(|(name, value)| HttpHeader { name: (*name).to_owned(), value: value.to_vec() });
        HttpEnvelope { status, headers: headers.collect(), ..HttpEnvelope::default() }
    }

    #[test]
    fn an_envelope_is_a_request_or_a_response() {
        for good in [request("POST", "/a?b=%20"), response(204, &[("x-a", b"caf\xe9\t1")])] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        let both = HttpEnvelope { status: 200, ..request("GET", "/") };
        let long = vec![b'x'; HttpEnvelope::MAX_BYTES];
        let many = vec![("x-a", &b""[..]); 101];
        let cases = [
            (HttpEnvelope::default(), "status"),
            (both, "status"),
            (response(100, &[]), "status"),
            (response(600, &[]), "status"),
            (request("GE T", "/"), "method"),
            (request("GET", ""), "target"),
            (request("GET", "http://x/"), "target"),
            (request("GET", "/a b"), "target"),
            (request("GET", "/a#b"), "target"),
            (request("GET", "/a\r\nx: y"), "target"),
            (response(200, &[("X-A", b"")]), "headers[0].name"),
            (response(200, &[("x-a", b""), ("x a", b"")]), "headers[1].name"),
            (response(200, &[("content-length", b"3")]), "headers[0].name"),
            (response(200, &[("x-a", b"b\r\nset-cookie: c")]), "headers[0].value"),
            (response(200, &[("x-a", b"b\0")]), "headers[0].value"),
            (response(200, &[("x-a", &long)]), "headers"),
            (response(200, &many), "headers"),
        ];
        for (bad, field) in cases {
            assert_eq!(bad.check().unwrap_err().field, field, "{bad:?}");
        }
    }
}
