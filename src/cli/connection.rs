//! The connection flags of all client commands.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::client::{Client, ClientBuilder};

const DEFAULT_SERVER: &str = "http://127.0.0.1:7420";

/// How to reach the server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Server to connect to: http://HOST:PORT, https://HOST:PORT or unix:PATH
    #[arg(long, global = true, value_name = "URL", env = "LONGRUN_SERVER", default_value = DEFAULT_SERVER)]
    pub(super) server: String,
    /// Certificate authorities of an https:// server, PEM [default: the system's]
    #[arg(long, global = true, value_name = "FILE", env = "LONGRUN_CA")]
    ca: Option<PathBuf>,
    /// Client certificate for an https:// server, PEM
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "LONGRUN_CLIENT_CERT",
        requires = "client_key"
    )]
    client_cert: Option<PathBuf>,
    /// Private key of --client-cert, PEM
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "LONGRUN_CLIENT_KEY",
        requires = "client_cert"
    )]
    client_key: Option<PathBuf>,
    /// Token to send with every call. Prefer the variable or --token-file, because other users of the machine see flags in
    /// the process list
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "LONGRUN_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    token: Option<Secret>,
    /// File with the token, read for each call; no other user should be able to read it
    #[arg(long, global = true, value_name = "FILE", env = "LONGRUN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Send the token over plain http:// to other machines as well, although it can be read on the way
    #[arg(long, global = true, env = "LONGRUN_ALLOW_PLAINTEXT_TOKEN")]
    allow_plaintext_token: bool,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Connection {
    /// To a server that this process has started, without any credentials.
    pub(super) fn to(url: &str) -> Self {
        Self {
            server: url.to_owned(),
            ca: None,
            client_cert: None,
            client_key: None,
            token: None,
            token_file: None,
            allow_plaintext_token: false,
        }
    }

    /// The same flags for another server.
    pub(super) fn at(&self, url: &str) -> Self {
        Self { server: url.to_owned(), ..self.clone() }
    }

    /// The flag whose file an error names, and an example of a file.
    pub(super) fn file_in(&self, error: &str) -> Option<(&'static str, &'static str)> {
        let files = [
            ("--token-file", &self.token_file, "longrun.key"),
            ("--ca", &self.ca, "ca.pem"),
            ("--client-cert", &self.client_cert, "client.pem"),
            ("--client-key", &self.client_key, "client.key"),
        ];
        let is_named = |file: &Option<PathBuf>| {
            file.as_ref().is_some_and(|file| error.contains(&file.display().to_string()))
        };
        let found = files.into_iter().find(|(_, file, _)| is_named(file));
        found.map(|(flag, _, example)| (flag, example))
    }

    pub(super) fn builder(&self) -> ClientBuilder {
        let mut builder = Client::builder(&self.server);
        if let Some(file) = &self.ca {
            builder = builder.ca(file);
        }
        if let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) {
            builder = builder.identity(certificate, key);
        }
        if let Some(Secret(token)) = &self.token {
            builder = builder.token(token);
        }
        if let Some(file) = &self.token_file {
            builder = builder.token_file(file);
        }
        match self.allow_plaintext_token {
            true => builder.allow_plaintext_token(),
            false => builder,
        }
    }
}
