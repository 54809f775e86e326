//! Inputs and results: shown if they are text or pictures, and downloadable as files. They are foreign bytes on this
//! server's own origin: shown as text only, and sent so that a browser neither guesses their type nor runs them.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio_stream::StreamExt as _;

use super::pretty;
use super::visit::Visit;
use crate::operation::http::is_credential;
use crate::operation::payload::is_json;
use crate::operation::{OperationId, PayloadForm, PayloadInfo};
use crate::service::{Action, Contents, OperationName, Reason, ServiceError};
use crate::words;

/// How much of a text a page shows, in bytes.
const SHOWN_BYTES: u64 = 64 << 10;
/// Media types that are shown as pictures.
const PICTURES: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];

/// Input or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Input,
    Result,
}

/// Contents as a page shows them.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    role: Role,
    media_type: String,
    type_url: String,
    size: String,
    /// The shown part of the text.
    text: Option<String>,
    /// Whether the text is longer.
    is_cut: bool,
    is_picture: bool,
    /// The request or response around them, if any.
    envelope: Vec<String>,
    /// Why they cannot be shown.
    trouble: Option<String>,
}

impl Role {
    async fn contents(self, visit: &Visit, name: &OperationName) -> Result<Contents, ServiceError> {
        match self {
            Self::Input => visit.service().input(&visit.caller, name, None).await,
            Self::Result => visit.service().result(&visit.caller, name).await,
        }
    }
}

/// The contents that `info` describes, for callers that may read them.
pub(super) async fn show(
    visit: &Visit,
    id: OperationId,
    role: Role,
    info: Option<&PayloadInfo>,
) -> Option<Shown> {
    let info = info.filter(|_| visit.caller.can(Action::Read))?;
    let is_picture = is_picture(info);
    let (mut text, mut is_cut, mut trouble) = (None, false, None);
    if !is_picture && may_be_text(info) {
        match beginning(visit, id, role).await {
            Ok((found, cut)) => (text, is_cut) = (found, cut),
            Err(error) => trouble = Some(error.message),
        }
    }
    if let Some(pretty) = text.as_deref().filter(|_| !is_cut).and_then(pretty::json) {
        text = Some(pretty).filter(|_| is_text_of_json(info)).or(text);
    }
    Some(Shown {
        role,
        media_type: info.content_type.clone(),
        type_url: info.type_url.clone(),
        size: words::bytes(info.size_bytes),
        text,
        is_cut,
        is_picture,
        envelope: envelope(info),
        trouble,
    })
}

/// The contents as text, if they are text and small.
pub(super) async fn text_of(
    visit: &Visit,
    id: OperationId,
    role: Role,
    info: &PayloadInfo,
) -> Result<Option<String>, ServiceError> {
    if !may_be_text(info) {
        return Ok(None);
    }
    let (text, is_cut) = beginning(visit, id, role).await?;
    Ok(text.filter(|_| !is_cut))
}

/// The first bytes, if they are text; and whether there are more.
async fn beginning(
    visit: &Visit,
    id: OperationId,
    role: Role,
) -> Result<(Option<String>, bool), ServiceError> {
    let contents = role.contents(visit, &OperationName { tenant: None, id }).await?;
    let is_cut = contents.size_bytes() > SHOWN_BYTES;
    let mut pieces = contents.read(0..SHOWN_BYTES).await?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => Some(text.to_owned()),
        // The shown part may end within a character.
        Err(error) if is_cut && bytes.len() - error.valid_up_to() < 4 => {
            Some(String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned())
        }
        Err(_) => None,
    };
    Ok((text.filter(|text| !text.contains('\0')), is_cut))
}

fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_picture(info: &PayloadInfo) -> bool {
    PICTURES.contains(&essence(&info.content_type).as_str()) && !is_coded(info)
}

/// Whether the contents may be text. Bytes that are not UTF-8 are none, whatever their type says.
fn may_be_text(info: &PayloadInfo) -> bool {
    let essence = essence(&info.content_type);
    let is_other = ["image/", "audio/", "video/", "font/"].iter().any(|it| essence.starts_with(it));
    let is_svg = essence == "image/svg+xml";
    info.form != PayloadForm::Any && (!is_other || is_svg) && !is_coded(info)
}

fn is_text_of_json(info: &PayloadInfo) -> bool {
    info.form == PayloadForm::Json || is_json(&info.content_type)
}

/// Whether the bytes have a content coding, such as gzip.
fn is_coded(info: &PayloadInfo) -> bool {
    let headers = info.http.iter().flat_map(|http| &http.headers);
    headers.into_iter().any(|header| header.name.eq_ignore_ascii_case("content-encoding"))
}

/// The header of the request or the response, line by line, without credentials, which are for the worker alone.
fn envelope(info: &PayloadInfo) -> Vec<String> {
    let Some(http) = &info.http else { return Vec::new() };
    let first = match (http.status, http.method.as_str()) {
        (0, "") => None,
        (0, method) => Some(format!("{method} {}", http.target)),
        (status, _) => Some(format!("HTTP {status}")),
    };
    let fields = http
        .headers
        .iter()
        .filter(|header| !is_credential(&header.name))
        .map(|header| format!("{}: {}", header.name, String::from_utf8_lossy(&header.value)));
    first.into_iter().chain(fields).collect()
}

/// `GET operations/ID/input` and `…/result`: the contents as a file; with `?show`, as a picture if they are one.
pub(super) async fn file(
    visit: &Visit,
    id: OperationId,
    role: Role,
) -> Result<Response, ServiceError> {
    let contents = role.contents(visit, &OperationName { tenant: None, id }).await?;
    let is_shown = visit.query.has("show") && is_picture(&contents.info);
    let media_type = match HeaderValue::try_from(&contents.info.content_type) {
        Ok(media_type) => media_type,
        Err(_) => HeaderValue::from_static("application/octet-stream"),
    };
    let disposition = match is_shown {
        true => "inline".to_owned(),
        false => format!("attachment; filename=\"{id}{}\"", ending(&contents.info, role)),
    };
    let disposition = HeaderValue::try_from(disposition)
        .map_err(|_| ServiceError::new(Reason::Internal, "the file has no name"))?;
    let size = contents.size_bytes();
    let headers = [
        (CONTENT_TYPE, media_type),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_LENGTH, HeaderValue::from(size)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    ];
    let body = Body::from_stream(contents.read(0..size).await?);
    let mut response = (StatusCode::OK, headers, body).into_response();
    if is_coded(&contents.info) {
        // Saved unchanged.
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    Ok(response)
}

/// The extension of the file's name.
fn ending(info: &PayloadInfo, role: Role) -> &'static str {
    let of_type = match essence(&info.content_type).as_str() {
        "application/json" => ".json",
        "text/plain" => ".txt",
        "text/csv" => ".csv",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "application/pdf" => ".pdf",
        "application/zip" => ".zip",
        _ => "",
    };
    match (of_type, role) {
        ("", Role::Input) => ".input",
        ("", Role::Result) => ".result",
        (ending, _) => ending,
    }
}
