//! The server that commands talk to, and the error messages of failed calls.

use anyhow::anyhow;

use super::connection::Connection;
use super::output::{Refusal, Usage};
use super::refusal;
use crate::client::{Client, ClientError};

/// Few, so that a command that does not wait soon reports that no server responds.
const RETRIES: u32 = 4;
/// With pauses that double from 0.1 s up to 5 s, this many tries take more than a minute.
const PATIENT_RETRIES: u32 = 28;

/// The server that commands talk to.
#[derive(Debug)]
pub(super) struct Remote {
    /// The client, with few retries.
    pub(super) client: Client,
    patient: Client,
    url: String,
}

impl Remote {
    /// The server of a connection. This does not connect yet.
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

    /// A client for commands that wait: it waits for a server that is down or starting.
    pub(super) fn patient(&self) -> Client {
        self.patient.clone()
    }

    /// A client for single calls of commands that wait.
    pub(super) fn persistent(&self) -> Client {
        self.patient.clone().with_retries(PATIENT_RETRIES)
    }

    /// The absolute URL of a path of the server, if the server has a URL.
    pub(super) fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') && self.url.starts_with("http") {
            true => format!("{}{path}", self.url.trim_end_matches('/')),
            false => path.to_owned(),
        }
    }

    /// The server's URL, for people.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The note of a waiting command that no server responds.
    pub(super) fn unreached(&self, error: &ClientError) -> String {
        format!("no response from {} yet ({}); trying again", self.url, error.message())
    }

    /// An error for people: what failed, and why.
    pub(super) fn failed(&self, error: &ClientError, to: &str) -> anyhow::Error {
        if error.is_transient() && error.reason().is_empty() {
            // "invalid peer certificate", or the server's alert "CertificateRequired".
            if error.message().to_ascii_lowercase().contains("certificate") {
                // A server responded; client or server does not trust the other's certificate.
                return anyhow!("{}", error.message())
                    .context(format!("no connection to {} (see --ca and --client-cert)", self.url))
                    .context(format!("failed to {to}"));
            }
            // A server that refuses a certificate may close before it reports that.
            let trust = match self.url.starts_with("https://") {
                true => "; see --ca and --client-cert",
                false => "",
            };
            return anyhow!("{}", error.message())
                .context(format!(
                    "no response from {} (is `longrun serve` running there? --server or \
                     LONGRUN_SERVER names another server{trust})",
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
            // The message names a rule once, however many items break it.
            if !text.contains(&violation.description) {
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
        assert!(text.starts_with("failed to list operations: no response from http://127.0.0.1:1"));
        assert!(text.ends_with(": connection refused"), "{text}");
        let missing = ClientError::local(tonic::Code::NotFound, "no such operation");
        let text = format!("{:#}", remote.failed(&missing, "get x"));
        assert_eq!(text, "failed to get x: NotFound: no such operation");
        assert!(Remote::new(&Connection::to("http://")).is_err());
    }
}
