//! Callers: the server's secret, the keys, and the ways to identify callers.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::auth::jwt::{KeyReader, Tokens};
use crate::auth::{self, Authenticator, ByCertificate, ByKey, KeyFile, Way};
use crate::catalogue::Catalogue;
use crate::config::{CertificateCaller, ServeConfig};
use crate::engine::Clock;
use crate::files;
use crate::operation::secret::Secret;
use crate::service::keys::{KeyText, Keys, ServerSecret};
use crate::store::Store;

/// The ways to identify callers, and their tasks.
pub(super) struct Callers {
    pub(super) keys: Keys,
    pub(super) authenticator: Authenticator,
    file: Option<KeyFile>,
    token_keys: Option<KeyReader>,
}

impl Callers {
    /// Reads the secret and the keys, and makes the first key if that is configured.
    pub(super) async fn open(
        config: &ServeConfig,
        store: &Arc<dyn Store>,
        catalogue: &mut Catalogue,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let (tokens, token_keys) = Tokens::open(&config.tokens, Arc::clone(&clock)).await?.unzip();
        let secret = match config.callers.secret_file.clone() {
            Some(path) => blocking(move || secret(&path)).await?,
            None => {
                let made = ServerSecret::of_store(catalogue).await;
                made.context("the store's secret cannot be read")?
            }
        };
        let keys = Keys::open(Arc::clone(store), catalogue, secret).await?;
        if let Some(path) = config.callers.bootstrap_key_file.clone() {
            bootstrap(&keys, &*clock, path).await?;
        }
        let file = match config.callers.key_file.clone() {
            Some(path) => {
                let keys = keys.clone();
                Some(blocking(move || Ok(KeyFile::open(path, keys)?)).await?)
            }
            None => None,
        };
        let has_some = keys.has_some(clock.now());
        let authenticator = if config.must_callers_be_known() {
            let ways = ways(&keys, tokens, config.tls.callers.clone(), clock);
            // Besides by the store's keys.
            let has_others = file.is_some() || ways.len() > 1;
            if !has_some && !has_others {
                tracing::warn!(
                    "callers must have credentials, but there are none yet: --bootstrap-key-file makes a first key"
                );
            }
            let authenticator = Authenticator::by(ways);
            match config.callers.private_operations {
                true => authenticator.privately(keys.secret().clone()),
                false => authenticator,
            }
        } else {
            warn_of_open_doors(config, has_some);
            Authenticator::open()
        };
        Ok(Self { keys, authenticator, file, token_keys })
    }

    /// Starts the tasks that keep keys up to date.
    pub(super) fn spawn(self, tasks: &mut Tasks, stop: &CancellationToken) {
        tasks.spawn("last uses of keys", self.keys.run(stop.clone()));
        if let Some(file) = self.file {
            tasks.spawn("key file", file.run(stop.clone()));
        }
        if let Some(reader) = self.token_keys {
            tasks.spawn("reader of keys", reader.run(stop.clone()));
        }
    }
}

/// The ways to identify callers, in their order.
fn ways(
    keys: &Keys,
    tokens: Option<Tokens>,
    certificates: Vec<CertificateCaller>,
    clock: Arc<dyn Clock>,
) -> Vec<Box<dyn Way>> {
    let mut ways: Vec<Box<dyn Way>> = vec![Box::new(ByKey::new(keys.clone(), Arc::clone(&clock)))];
    ways.extend(tokens.map(|tokens| Box::new(tokens) as Box<dyn Way>));
    if !certificates.is_empty() {
        ways.push(Box::new(ByCertificate::new(certificates, clock)));
    }
    ways
}

/// Warns if callers need no credentials where they probably should.
fn warn_of_open_doors(config: &ServeConfig, has_keys: bool) {
    if has_keys {
        tracing::warn!("the store has API keys, but callers need none: set --auth required");
    }
    if let Some((flag, address)) = config.open_address() {
        tracing::warn!(
            "every caller that can connect to {flag} {address} may do everything, because of --insecure: \
             set --auth required"
        );
    }
}

/// The secret in a file.
fn secret(path: &Path) -> anyhow::Result<Secret> {
    auth::is_private(path, "--secret-file")?;
    let bytes = fs::read(path)
        .with_context(|| format!("--secret-file {} cannot be read", path.display()))?;
    if !(Secret::LEAST_BYTES..=1 << 20).contains(&bytes.len()) {
        bail!(
            "--secret-file {} must have at least {} bytes, e.g. of `head -c 32 /dev/urandom`",
            path.display(),
            Secret::LEAST_BYTES
        );
    }
    Ok(Secret::of(&bytes))
}

/// Writes a first key to a file, if there is none. The file exists before the key is valid, and gets its name only
/// afterwards: a crash in between leaves `FILE.new`, whose key is either valid or useless.
async fn bootstrap(keys: &Keys, clock: &dyn Clock, path: PathBuf) -> anyhow::Result<()> {
    if keys.has_any() {
        return Ok(());
    }
    let name = path.display().to_string();
    let text = KeyText::generate().map_err(anyhow::Error::msg)?;
    let written = text.text();
    let new = files::beside(&path, ".new");
    let (target, partial) = (path.clone(), new.clone());
    let write = move || -> anyhow::Result<()> {
        if target.exists() {
            bail!("the file exists already, and the store has no key: move it away");
        }
        let mut file = files::private().write(true).create(true).truncate(true).open(&partial)?;
        writeln!(file, "{written}")?;
        Ok(file.sync_all()?)
    };
    let failed = || format!("--bootstrap-key-file {name} cannot be written");
    blocking(write).await.with_context(failed)?;
    let is_first = keys.bootstrap(&text, clock.now()).await?;
    let finish = move || -> anyhow::Result<()> {
        if is_first {
            fs::rename(&new, &path)?
        } else {
            fs::remove_file(&new)?
        }
        Ok(())
    };
    blocking(finish).await.with_context(failed)?;
    if is_first {
        tracing::info!(path = name, "a first API key was made: an operator's");
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("it was cut off")?
}
