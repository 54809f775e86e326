//! The source of the set of keys, and the task that keeps it fresh.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http::header::{ACCEPT, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::keys::KeySet;
use crate::config::handler::EndpointUrl;
use crate::config::relay::Limits;
use crate::config::tokens::{KeySource, TokenConfig};
use crate::relay::{Over, TrustError, Upstream, UpstreamError, Way};

/// The maximum age of a set.
const REFRESH: Duration = Duration::from_secs(300);
/// The shortest time between two reads, however many tokens name unknown keys.
const PAUSE: Duration = Duration::from_secs(3);
/// The time limit of a read.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest set, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The latest set; `None` before the first.
pub(super) type Latest = watch::Receiver<Option<Arc<KeySet>>>;

/// Reads the set at intervals. Its owner awaits its end.
#[derive(Debug)]
pub struct KeyReader {
    config: TokenConfig,
    source: Source,
    latest: watch::Sender<Option<Arc<KeySet>>>,
    /// Notified when a token names a key that is not in the set.
    asked: Arc<Notify>,
    /// The number of reads, for tasks that wait for one.
    readings: watch::Sender<u64>,
    /// Why the last read failed; `None` if it succeeded.
    trouble: Option<String>,
}

/// A source of keys that is ready to be read.
#[derive(Debug)]
enum Source {
    File(PathBuf),
    Issuer { url: EndpointUrl, upstream: Box<Upstream> },
}

/// The set of keys for its users.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) latest: Latest,
    asked: Arc<Notify>,
    readings: watch::Receiver<u64>,
}

impl Keys {
    /// Returns after the next read, or after `patience`.
    pub(super) async fn read_again(&self, patience: Duration) {
        let mut readings = self.readings.clone();
        readings.mark_unchanged();
        self.asked.notify_one();
        // If the reader has ended, there will be no other set.
        let _ = timeout(patience, readings.changed()).await;
    }
}

impl KeyReader {
    pub(super) fn new(config: &TokenConfig, source: KeySource) -> anyhow::Result<(Self, Keys)> {
        let source = Source::new(config, source)?;
        let (latest, latest_seen) = watch::channel(None);
        let (readings, readings_seen) = watch::channel(0);
        let asked = Arc::new(Notify::new());
        let keys = Keys { latest: latest_seen, asked: Arc::clone(&asked), readings: readings_seen };
        let config = config.clone();
        let trouble = None;
        Ok((Self { config, source, latest, asked, readings, trouble }, keys))
    }

    /// Reads the set for the first time. A file must be readable and valid; a URL may become reachable later.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        let read = self.read().await;
        match (&self.source, read) {
            (Source::File(path), Err(reason)) => {
                anyhow::bail!("--jwt-keys {}: {reason}", path.display())
            }
            (Source::Issuer { url, .. }, Err(reason)) => {
                tracing::warn!(
                    %url,
                    reason,
                    "cannot verify tokens yet: the token keys cannot be read"
                );
                self.trouble = Some(reason);
                Ok(())
            }
            (_, Ok(keys)) => {
                self.take(keys);
                Ok(())
            }
        }
    }

    /// Reads repeatedly until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut last = Instant::now();
        loop {
            let refresh = if self.trouble.is_none() { REFRESH } else { PAUSE };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(last + refresh) => {}
                () = self.asked.notified() => tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep_until(last + PAUSE) => {}
                },
            }
            let read = tokio::select! {
                () = stop.cancelled() => return,
                read = self.read() => read,
            };
            last = Instant::now();
            match read {
                Ok(keys) => {
                    if self.trouble.take().is_some() {
                        tracing::info!("the token keys can be read again");
                    }
                    self.take(keys);
                }
                Err(reason) => self.note_trouble(reason),
            }
            self.readings.send_modify(|readings| *readings += 1);
        }
    }

    /// Logs a failure that differs from the last read's, so at most one line for each pause between reads. The known keys
    /// stay valid, because an outage of the issuer must not become one of this server.
    fn note_trouble(&mut self, reason: String) {
        if self.trouble.as_ref() == Some(&reason) {
            return;
        }
        match *self.latest.borrow() {
            Some(_) => {
                tracing::warn!(
                    reason,
                    "cannot read the token keys again; the last ones stay valid"
                );
            }
            None => {
                tracing::warn!(reason, "cannot verify tokens yet: the token keys cannot be read");
            }
        }
        self.trouble = Some(reason);
    }

    fn take(&self, keys: KeySet) {
        tracing::debug!(keys = keys.len(), "read the keys of tokens");
        self.latest.send_replace(Some(Arc::new(keys)));
    }

    async fn read(&self) -> Result<KeySet, String> {
        let (document, is_local) = match &self.source {
            Source::File(path) => (of_file(path).await?, true),
            Source::Issuer { url, upstream } => (of_url(upstream, url).await?, false),
        };
        KeySet::parse(&document, &self.config.allowed(), is_local)
    }
}

impl Source {
    /// Connects later.
    fn new(config: &TokenConfig, source: KeySource) -> Result<Self, TrustError> {
        let url = match source {
            KeySource::File(path) => return Ok(Self::File(path)),
            KeySource::Url(url) => url,
        };
        let upstream = Upstream::new(&Way {
            owner: "--jwt-keys".to_owned(),
            scheme: &url.scheme,
            authority: &url.authority,
            ca_file: config.ca_file.as_deref(),
            guard: None,
            limits: &Limits::default(),
        })?;
        Ok(Self::Issuer { url, upstream: Box::new(upstream) })
    }
}

/// The document at the URL. Redirects are not followed.
async fn of_url(issuer: &Upstream, url: &EndpointUrl) -> Result<Vec<u8>, String> {
    let late = || away(&UpstreamError::Timeout(PATIENCE));
    timeout(PATIENCE, get(issuer, url)).await.unwrap_or_else(|_elapsed| Err(late()))
}

async fn get(issuer: &Upstream, url: &EndpointUrl) -> Result<Vec<u8>, String> {
    let mut request = Request::new(Body::empty());
    let agent = concat!("longrun/", env!("CARGO_PKG_VERSION"));
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
    let answer = issuer.exchange(request, url.target.clone(), Over::Fresh).await;
    let response = answer.map_err(|error| away(&error))?;
    if !response.status().is_success() {
        return Err(format!("the issuer answered {}", response.status()));
    }
    let document = Limited::new(response.into_body(), MAX_BYTES).collect().await;
    let document = document.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(),
        false => "the issuer's answer broke off".to_owned(),
    })?;
    Ok(document.to_bytes().into())
}

fn away(error: &UpstreamError) -> String {
    error.to_string().replacen("upstream", "issuer", 1)
}

async fn of_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = tokio::fs::File::open(path).await.map_err(|error| error.to_string())?;
    let mut document = Vec::new();
    let read = file.take(MAX_BYTES as u64 + 1).read_to_end(&mut document).await;
    read.map_err(|error| error.to_string())?;
    if document.len() > MAX_BYTES { Err(too_large()) } else { Ok(document) }
}

fn too_large() -> String {
    format!("it is larger than {MAX_BYTES} bytes")
}
