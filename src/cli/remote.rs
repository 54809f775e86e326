//! The server that commands talk to, and the error messages of failed calls.

use anyhow::anyhow;

use super::connection::Connection;
use super::output::{Refusal, Usage};
use super::refusal;
use crate::client::{Client, ClientError};

/// A command that waits for nothing else says soon that no server answers.
const RETRIES: u32 = 4;
/// With pauses that double from 0.1 s up to 5 s, this many tries take more than a minute.
const PATIENT_RETRIES: u32 = 28;

/// The server that commands talk to.
#[derive(Debug)]
pub(super) struct Remote {
    /// The way to it.
    pub(super) client: Client,
    patient: Client,
    url: String,
}

impl Remote {
    /// The server at the end of a connection; it is not asked anything yet.
    pub(super) fn new(connection: &Connection) -> anyhow::Result<Self> {
        let url = connection.server.clone();
        let client = connection.builder().connect_lazy();
        let client = client.map_err(|error| {
            let reason = error.message();
            Usage(match connection.file_in(reason) {
                Some((flag, example)) => format!("{flag}: {reason}, e.g. {flag} {example}"),
                None => format!("--server {url}: {reason}"),
            })
        })?;
        Ok(Self { patient: client.clone(), client: client.with_retries(RETRIES), url })
    }

    /// For commands that wait: a server that is away, or just being started, is waited for.
    pub(super) fn patient(&self) -> Client {
        self.patient.clone()
    }

    /// The same for single calls of such commands.
    pub(super) fn persistent(&self) -> Client {
        self.patient.clone().with_retries(PATIENT_RETRIES)
    }

    /// The absolute URL of a path of the server, where the server is reached by one.
    pub(super) fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') && self.url.starts_with("http") {
            true => format!("{}{path}", self.url.trim_end_matches('/')),
            false => path.to_owned(),
        }
    }

    /// The note that no server responds, while a command waits.
    pub(super) fn unreached(&self, error: &ClientError) -> String {
        format!("no answer from {} yet ({}); trying again", self.url, error.message())
    }

    /// An error that says what was tried and why it failed, for people.
    pub(super) fn failed(&self, error: &ClientError, to: &str) -> anyhow::Error {
        if error.is_transient() && error.reason().is_empty() {
            // "invalid peer certificate", or the server's alert "CertificateRequired".
            if error.message().to_ascii_lowercase().contains("certificate") {
                // A server answered; one of the two does not trust the other.
                return anyhow!("{}", error.message())
                    .context(format!("no connection to {} (see --ca and --client-cert)", self.url))
                    .context(format!("failed to {to}"));
            }
            // A server that refuses a certificate may close before it says so.
            let trust = match self.url.starts_with("https://") {
                true => "; see --ca and --client-cert",
                false => "",
            };
            return anyhow!("{}", error.message())
                .context(format!(
                    "no answer from {} (is `longrun serve` running there? --server and \
                     LONGRUN_SERVER name another{trust})",
                    self.url
                ))
                .context(format!("failed to {to}"));
        }
        let kind = match error.reason() {
            "" => format!("{:?}", error.code()),
            reason => reason.to_owned(),
        };
        let mut text = format!("{kind}: {}", error.message());
        for violation in error.field_violations() {
            let line = format!("{} {}", violation.field, violation.description);
            if !error.message().contains(&line) {
                text.push_str(&format!("\n{line}"));
            }
            // Of many items, each may name the same argument.
            if let Some(advice) = refusal::advice(&violation.field)
                && !text.contains(&advice)
            {
                text.push_str(&format!("\n{advice}"));
            }
        }
        if let Some(wait) = error.retry_after() {
            text.push_str(&format!("\ntry again in {}", super::text::duration(wait)));
        }
        let reason = error.reason().to_owned();
        let refusal = Refusal { code: error.code(), reason, text };
        anyhow::Error::new(refusal).context(format!("failed to {to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_name_the_server_or_the_reason() {
        let remote = Remote::new(&Connection::to("http://127.0.0.1:1")).unwrap();
        let down = ClientError::local(tonic::Code::Unavailable, "connection refused");
        let text = format!("{:#}", remote.failed(&down, "list operations"));
        assert!(text.starts_with("failed to list operations: no answer from http://127.0.0.1:1"));
        assert!(text.ends_with(": connection refused"), "{text}");
        let missing = ClientError::local(tonic::Code::NotFound, "no such operation");
        let text = format!("{:#}", remote.failed(&missing, "get x"));
        assert_eq!(text, "failed to get x: NotFound: no such operation");
        assert!(Remote::new(&Connection::to("http://")).is_err());
    }
}
