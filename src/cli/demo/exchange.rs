//! One plain HTTP/1.1 exchange on a connection of its own.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any wait that the demo asks for.
const PATIENCE: Duration = Duration::from_secs(90);

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// `HTTP/1.1 200 OK`.
    pub(super) status_line: String,
    /// `200`.
    pub(super) status: u16,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The value of a header, its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.context("the response has no end of headers")?;
        let head = std::str::from_utf8(&bytes[..end]).context("the headers are not text")?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default().to_owned();
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("`{status_line}` is not a status line"))?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.filter_map(header).collect();
        let mut answer = Self { status_line, status, headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            answer.body = unchunk(&answer.body)?;
        }
        if let Some(length) = answer.header("content-length") {
            ensure!(length == answer.body.len().to_string(), "the answer was cut short");
        }
        Ok(answer)
    }
}

/// Sends a request and reads the whole response. `head` has neither Host nor Content-Length.
pub(super) async fn exchange(
    address: &str,
    head: &[String],
    body: &[u8],
) -> anyhow::Result<Answer> {
    let mut request = head.join("\r\n");
    request.push_str(&format!("\r\nHost: {address}\r\nConnection: close\r\n"));
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let answered = timeout(PATIENCE, async {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(request.as_bytes()).await?;
        connection.write_all(body).await?;
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).await?;
        std::io::Result::Ok(bytes)
    });
    let bytes = answered.await.context("no response in time")?;
    Answer::parse(&bytes.with_context(|| format!("failed to talk to {address}"))?)
}

/// A chunked body in one piece.
fn unchunk(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("a chunk has no size")?;
        let size = std::str::from_utf8(&rest[..end])?.split(';').next().unwrap_or_default();
        let size =
            usize::from_str_radix(size.trim(), 16).context("a chunk's size is not a number")?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(end + 2..end + 2 + size).context("a chunk was cut short")?;
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).context("a chunk has no end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_either_kind_of_body() {
        let plain = b"HTTP/1.1 202 Accepted\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nok";
        let answer = Answer::parse(plain).unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (202, Some("1")));
        assert_eq!(answer.body, b"ok");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n";
        assert_eq!(Answer::parse(chunked).unwrap().body, b"abc");
    }

    #[test]
    fn half_an_answer_is_none() {
        for cut in [
            &b"HTTP/1.1 200 OK\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"nonsense\r\n\r\n",
        ] {
            assert!(Answer::parse(cut).is_err());
        }
    }
}
