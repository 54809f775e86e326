//! The INPUT argument: text, a file, or stdin, and its content type.

use std::io::Read as _;

use anyhow::Context as _;
use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::proto::v1::Payload;
use crate::proto::v1::payload::Content;

/// Reads what INPUT names: `-` is stdin, `@FILE` a file, `@@TEXT` the text `@TEXT`, anything else the input itself.
pub(super) fn read(input: &str, content_type: Option<&str>) -> anyhow::Result<Payload> {
    let bytes = if input == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("failed to read stdin")?;
        bytes
    } else if let Some(text) = input.strip_prefix("@@") {
        format!("@{text}").into_bytes()
    } else if let Some(path) = input.strip_prefix('@') {
        std::fs::read(path).with_context(|| format!("failed to read {path}"))?
    } else {
        input.as_bytes().to_vec()
    };
    Ok(payload(bytes, content_type))
}

/// A payload of exactly these bytes. Without a content type, JSON objects and arrays are JSON, other
/// UTF-8 is text (a number or a word alone is more likely text than JSON).
pub(super) fn payload(bytes: Vec<u8>, content_type: Option<&str>) -> Payload {
    let content_type = match content_type {
        Some(content_type) => content_type.to_owned(),
        None if is_json(&bytes) => "application/json".to_owned(),
        // The service names the type of text and of bytes itself.
        None => {
            let content = match String::from_utf8(bytes) {
                Ok(text) => Content::Text(text),
                Err(binary) => Content::Data(Bytes::from(binary.into_bytes())),
            };
            return Payload { content: Some(content), ..Default::default() };
        }
    };
    // As `data`, since the JSON form would not keep numbers and spaces as they were typed.
    let content = Some(Content::Data(Bytes::from(bytes)));
    Payload { content_type, content, ..Default::default() }
}

fn is_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(input: &str, content_type: Option<&str>) -> (String, Content) {
        let payload = payload(input.as_bytes().to_vec(), content_type);
        (payload.content_type, payload.content.unwrap())
    }

    #[test]
    fn json_keeps_its_bytes_and_other_text_is_text() {
        let json = "{\"n\": 1.00}\n";
        let data = Content::Data(Bytes::from(json));
        assert_eq!(content(json, None), ("application/json".into(), data));
        for text in ["hello", "42", "{not json", ""] {
            assert_eq!(content(text, None), (String::new(), Content::Text(text.into())));
        }
        let csv = ("text/csv".into(), Content::Data(Bytes::from("a,b")));
        assert_eq!(content("a,b", Some("text/csv")), csv);
    }

    #[test]
    fn files_are_read_whole_and_missing_ones_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bytes");
        std::fs::write(&path, b"\xff\x00").unwrap();
        let payload = read(&format!("@{}", path.display()), None).unwrap();
        assert_eq!(payload.content, Some(Content::Data(Bytes::from_static(b"\xff\x00"))));
        let error = read("@/no/such/file", None).unwrap_err();
        assert_eq!(error.to_string(), "failed to read /no/such/file");
    }
}
