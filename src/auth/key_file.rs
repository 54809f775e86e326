//! Keys in a file: read at the start, and again whenever the file changes.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::files;
use crate::operation::{TenantId, Timestamp};
use crate::service::keys::{KeyText, Keys, NewKey, bytes_of_hex, is_id, kinds_of, roles_of};
use crate::time_text::{NotATime, parse_time};

/// How often the file is checked for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The largest file, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Why a key file, or another file with secrets, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {path} {rule}")]
pub struct KeyFileError {
    /// The flag that names the file.
    pub flag: &'static str,
    /// The file.
    pub path: String,
    /// The error.
    pub rule: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

/// A key: its text, or the hash that `longrun key generate` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: Option<String>,
    hash: Option<String>,
    tenant: Option<String>,
    roles: Vec<String>,
    kinds: Option<Vec<String>>,
    #[serde(default)]
    name: String,
    expires: Option<String>,
}

/// Identifies a state of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// A watched key file.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    keys: Keys,
    seen: Option<State>,
}

impl KeyFile {
    /// Reads the file. Blocks.
    pub fn open(path: PathBuf, keys: Keys) -> Result<Self, KeyFileError> {
        let mut file = Self { path, keys, seen: None };
        file.read().map_err(|rule| KeyFileError {
            flag: "--key-file",
            path: file.path.display().to_string(),
            rule,
        })?;
        Ok(file)
    }

    fn read(&mut self) -> Result<(), String> {
        let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
        let metadata = fs::metadata(&self.path).map_err(unreadable)?;
        self.seen = Some(State::of(&metadata));
        check(&metadata)?;
        if metadata.len() > MAX_BYTES {
            return Err("must be at most 16 MiB".to_owned());
        }
        let text = fs::read_to_string(&self.path).map_err(unreadable)?;
        self.keys.set_file(parse(&text)?);
        Ok(())
    }

    /// Reads the file again when it changes, until `stop`. If it cannot be read, the keys stay unchanged.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(self.watch()).await;
    }

    async fn watch(mut self) {
        let mut polls = interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            polls.tick().await;
            let read = tokio::task::spawn_blocking(move || {
                let state = fs::metadata(&self.path).ok().map(|metadata| State::of(&metadata));
                let read = (state != self.seen).then(|| {
                    self.seen = state;
                    self.read()
                });
                (self, read)
            });
            let Ok((file, read)) = read.await else { return };
            self = file;
            let path = self.path.display();
            match read {
                None => {}
                Some(Ok(())) => tracing::info!(%path, "the key file was read again"),
                Some(Err(rule)) => {
                    tracing::error!("--key-file {path} {rule}: its keys stay as they were");
                }
            }
        }
    }
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), size: metadata.len(), changed }
    }
}

/// Refuses a file with secrets that other users of the machine may read.
pub fn is_private(path: &Path, flag: &'static str) -> Result<(), KeyFileError> {
    let checked = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"));
    let path = path.display().to_string();
    checked.and_then(|it| check(&it)).map_err(|rule| KeyFileError { flag, path, rule })
}

fn check(metadata: &Metadata) -> Result<(), String> {
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if files::is_private_here(metadata) {
        return Ok(());
    }
    let readers = "can be read by users other than its owner: run chmod 600 on it";
    Err(match metadata.uid() {
        0 => format!("{readers}, or chmod 640 if the server runs as another user than root"),
        _ => readers.to_owned(),
    })
}

type Parsed = Vec<(String, [u8; 32], NewKey)>;

fn parse(text: &str) -> Result<Parsed, String> {
    // The parser's message shows the line, which may contain a key.
    let file: File = toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count());
        format!("is not a list of [[key]] tables, line {}: {}", line.max(1), error.message())
    })?;
    let mut parsed = Parsed::new();
    for (at, entry) in file.key.into_iter().enumerate() {
        let entry =
            entry.parse().map_err(|rule| format!("has an error in its key {}: {rule}", at + 1))?;
        parsed.push(entry);
    }
    Ok(parsed)
}

impl Entry {
    fn parse(self) -> Result<(String, [u8; 32], NewKey), String> {
        let hash = match (self.key, self.hash) {
            (Some(key), None) => KeyText::parse(&key).ok_or("key is mistyped or cut off")?.hash(),
            (None, Some(hash)) => hash,
            _ => return Err("it must have either key or hash".to_owned()),
        };
        let rule = "hash must be a hash that `longrun key generate` printed";
        let (id, digest) = hash.split_once(':').filter(|(id, _)| is_id(id)).ok_or(rule)?;
        let digest = bytes_of_hex(digest).ok_or(rule)?;
        let tenant = self.tenant.as_deref().map(TenantId::parse).transpose();
        let roles = roles_of(&self.roles)?;
        if roles.is_empty() {
            return Err("it has no roles".to_owned());
        }
        let expires_at = self.expires.as_deref().map(time).transpose()?;
        let new = NewKey {
            tenant: tenant.map_err(|rule| format!("tenant {rule}"))?,
            roles,
            kinds: self.kinds.as_deref().map(kinds_of).transpose()?,
            name: self.name,
            expires_at,
        };
        Ok((id.to_owned(), digest, new))
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time = parse_time(text).ok();
    let time = time.and_then(|(seconds, nanos)| Timestamp::from_unix(seconds, nanos));
    time.ok_or_else(|| format!("expires {NotATime}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_as_it_is_or_as_its_hash() {
        let key = KeyText::generate().unwrap();
        let (text, hash) = (key.text(), key.hash());
        let file = format!(
            "[[key]]\nkey = \"{text}\"\nroles = [\"submit\", \"read\"]\ntenant = \"acme\"\n\
             [[key]]\nhash = \"{hash}\"\nroles = [\"work\"]\nkinds = [\"a\"]\nexpires = \"2027-01-31T00:00:00Z\"\n"
        );
        let parsed = parse(&file).unwrap();
        assert_eq!((&parsed[0].0, parsed[0].1), (&parsed[1].0, parsed[1].1));
        assert_eq!(parsed[0].2.tenant.as_ref().unwrap().as_str(), "acme");
        assert!(parsed[1].2.expires_at.is_some());
        for wrong in [
            "[[key]]\nroles = []",
            &format!("[[key]]\nkey = \"{}\"\nroles = [\"read\"]", &text[..70]),
            &format!("[[key]]\nkey = \"{text}\"\nroles = [\"king\"]"),
            &format!("[[key]]\nkey = \"{text}\"\nroles = []"),
            &format!("[[key]]\nkey = \"{text}\"\nroles = [\"read\"]\nexpires = \"soon\""),
            &format!("[[key]]\nkey = \"{text}"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(!error.contains(&text[20..60]), "{error}");
        }
    }
}
