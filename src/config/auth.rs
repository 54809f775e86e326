//! Whether callers are asked who they are, and where their credentials are.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Whether callers must have credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// They must.
    Required,
    /// Nobody is asked: every caller may do everything.
    None,
}

/// Who may call.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Callers")]
pub struct Callers {
    /// Whether callers must have credentials; by default they must where a flag below names some, and need not on
    /// loopback addresses
    #[arg(long, value_name = "WHETHER", env = "LONGRUN_AUTH", value_enum)]
    pub auth: Option<Auth>,
    /// File (TOML) with API keys beside those of `longrun key create`, mode 0600; read again when it changes
    #[arg(long, value_name = "FILE", env = "LONGRUN_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Where to write a first key, of an operator, if the store has no key yet
    #[arg(long, value_name = "FILE", env = "LONGRUN_BOOTSTRAP_KEY_FILE")]
    pub bootstrap_key_file: Option<PathBuf>,
    /// File with at least 32 random bytes, mode 0600, without which what the store keeps of keys and owners is of no use;
    /// the same for all replicas. By default the store has a secret of its own
    #[arg(long, value_name = "FILE", env = "LONGRUN_SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// Show operations to nobody but the subject of the credentials that they were submitted with, and to admins
    #[arg(long, env = "LONGRUN_PRIVATE_OPERATIONS")]
    pub private_operations: bool,
}

impl Callers {
    /// Whether a flag says where credentials are.
    pub(super) fn has_source(&self) -> bool {
        self.key_file.is_some() || self.bootstrap_key_file.is_some()
    }
}
