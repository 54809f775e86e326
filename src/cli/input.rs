//! The INPUT argument: text, a file, or stdin, and its content type.

use std::io;
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::de::IgnoredAny;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::output::Output;
use crate::proto::v1::Payload;
use crate::proto::v1::payload::Content;

/// The largest input of one message: by default servers take messages of 4 MiB, other fields included.
const MOST_AT_ONCE: usize = (4 << 20) - (64 << 10);
/// How much of a larger input is read at once.
const PIECE_BYTES: usize = 256 << 10;
const OF_KNOWN_SIZE: &str =
    "{spinner:.cyan} sending [{bar:30.cyan/dim}] {bytes}/{total_bytes}, {eta} left";
const OF_UNKNOWN_SIZE: &str = "{spinner:.cyan} sending {bytes}, {bytes_per_sec}";

/// The input that INPUT names.
pub(super) enum Input {
    /// Read, for one message.
    Whole(Payload),
    /// Too large for one message.
    Large(Large),
}

/// An input that is read while it is sent.
pub(super) struct Large {
    /// The media type as given, or application/octet-stream.
    pub(super) content_type: String,
    size: Option<u64>,
    head: Bytes,
    rest: Box<dyn AsyncRead + Send + Unpin>,
}

/// Opens what INPUT names: `-` is stdin, `@FILE` a file, `@@TEXT` the text `@TEXT`, anything else the input itself.
pub(super) async fn open(input: &str, content_type: Option<&str>) -> anyhow::Result<Input> {
    if input == "-" {
        let read = async {
            // Opened as a file, which is read in the background, and has a size if it is a regular file.
            let stdin = io::stdin().as_fd().try_clone_to_owned()?;
            of_file(tokio::fs::File::from(std::fs::File::from(stdin)), content_type).await
        };
        return read.await.context("failed to read stdin");
    }
    if let Some(text) = input.strip_prefix("@@") {
        return Ok(Input::Whole(payload(format!("@{text}").into_bytes(), content_type)));
    }
    let Some(path) = input.strip_prefix('@') else {
        return Ok(Input::Whole(payload(input.as_bytes().to_vec(), content_type)));
    };
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        of_file(file, content_type).await
    };
    read.await.with_context(|| {
        format!("failed to read {path} (INPUT @… names a file; @@… is text that begins with @)")
    })
}

async fn of_file(file: tokio::fs::File, content_type: Option<&str>) -> io::Result<Input> {
    let found = file.metadata().await?;
    begin(file, found.is_file().then_some(found.len()), content_type).await
}

/// Reads as much as fits into one message, and checks whether there is more.
async fn begin(
    mut source: impl AsyncRead + Send + Unpin + 'static,
    size: Option<u64>,
    content_type: Option<&str>,
) -> io::Result<Input> {
    let mut head = Vec::new();
    (&mut source).take(MOST_AT_ONCE as u64 + 1).read_to_end(&mut head).await?;
    if head.len() <= MOST_AT_ONCE {
        return Ok(Input::Whole(payload(head, content_type)));
    }
    let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
    Ok(Input::Large(Large { content_type, size, head: head.into(), rest: Box::new(source) }))
}

impl Large {
    /// Reads the whole input in pieces, with a progress bar at a terminal.
    pub(super) fn into_stream(
        self,
        out: &Output,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let Self { size, head, rest, .. } = self;
        let bar = Bar::new(size, out);
        stream::try_unfold((Some(head), rest, bar), |(mut head, mut rest, bar)| async move {
            let piece = match head.take() {
                Some(head) => head,
                None => {
                    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
                    rest.read_buf(&mut piece).await?;
                    piece.freeze()
                }
            };
            bar.sent(piece.len());
            Ok((!piece.is_empty()).then_some((piece, (head, rest, bar))))
        })
    }
}

/// A bar at a terminal, nothing elsewhere.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(size: Option<u64>, out: &Output) -> Self {
        Self(out.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr());
            let template = if size.is_some() { OF_KNOWN_SIZE } else { OF_UNKNOWN_SIZE };
            // The templates are constants; a wrong one would show the default bar.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar
        }))
    }

    fn sent(&self, bytes: usize) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Whether a pipe or a file on stdin has data that no INPUT asks for.
pub(super) fn is_ignored_stdin() -> bool {
    use std::os::unix::fs::FileTypeExt as _;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdin = io::stdin();
    let Ok(found) = std::fs::metadata("/dev/stdin") else { return false };
    if found.is_file() {
        return found.len() > 0;
    }
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_ready = poll(&mut descriptors, Some(&at_once)).is_ok_and(|ready| ready > 0);
    found.file_type().is_fifo() && is_ready && descriptors[0].revents().contains(PollFlags::IN)
}

/// A payload of exactly these bytes. Without a content type, JSON objects and arrays are JSON, other
/// UTF-8 is text (a number or a word alone is more likely text than JSON).
pub(super) fn payload(bytes: Vec<u8>, content_type: Option<&str>) -> Payload {
    let content_type = match content_type {
        Some(content_type) => content_type.to_owned(),
        None if is_json(&bytes) => "application/json".to_owned(),
        // The server sets the content type of text and of bytes itself.
        None => {
            let content = match String::from_utf8(bytes) {
                Ok(text) => Content::Text(text),
                Err(binary) => Content::Data(Bytes::from(binary.into_bytes())),
            };
            return Payload { content: Some(content), ..Default::default() };
        }
    };
    // As `data`, because the JSON form would not keep numbers and spaces as typed.
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

    #[tokio::test]
    async fn files_are_read_whole_and_missing_ones_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bytes");
        std::fs::write(&path, b"\xff\x00").unwrap();
        let input = open(&format!("@{}", path.display()), None).await.unwrap();
        let Input::Whole(payload) = input else { panic!("a small file") };
        assert_eq!(payload.content, Some(Content::Data(Bytes::from_static(b"\xff\x00"))));
        let error = open("@/no/such/file", None).await.err().unwrap();
        assert!(error.to_string().starts_with("failed to read /no/such/file"), "{error}");
    }

    #[test]
    fn the_templates_are_sound() {
        for template in [OF_KNOWN_SIZE, OF_UNKNOWN_SIZE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
