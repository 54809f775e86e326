//! Whether callers must have credentials, and where credentials are configured.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Whether callers must have credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Every caller must have credentials.
    Required,
    /// Callers need no credentials, and every caller may do everything.
    None,
}

/// The callers' credentials.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Callers")]
pub struct Callers {
    /// Whether callers must have credentials; by default they must if a flag names some (below, --jwt-keys, --tls-caller)
    #[arg(long, value_name = "WHETHER", env = "LONGRUN_AUTH", value_enum)]
    pub auth: Option<Auth>,
    /// File (TOML) with API keys beside those of `longrun key create`, mode 0600; read again when it changes
    #[arg(long, value_name = "FILE", env = "LONGRUN_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// If the store has no key yet, write a first one, an operator's, to this file
    #[arg(long, value_name = "FILE", env = "LONGRUN_BOOTSTRAP_KEY_FILE")]
    pub bootstrap_key_file: Option<PathBuf>,
    /// File with at least 32 random bytes, mode 0600, the same for all replicas; the store's API keys and owners are void
    /// without it. By default the store has a secret of its own
    #[arg(long, value_name = "FILE", env = "LONGRUN_SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// Show an operation only to the subject that submitted it, and to admins
    #[arg(long, env = "LONGRUN_PRIVATE_OPERATIONS")]
    pub private_operations: bool,
}

impl Callers {
    /// Whether a flag names credentials.
    pub(super) fn has_source(&self) -> bool {
        self.key_file.is_some() || self.bootstrap_key_file.is_some()
    }
}
