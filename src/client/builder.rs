//! Sets up a client: the server's address, the trusted authorities, and the client's credentials.

use std::path::PathBuf;
use std::sync::Arc;

use tonic::Code;

use super::address::Address;
#[cfg(feature = "server")]
use super::address::Privacy;
use super::token::Token;
use super::trust::Trust;
use super::{Client, ClientError, channel};

/// Builds a client; see [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    url: String,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    token: Option<Source>,
    may_send_token_in_plaintext: bool,
}

/// The source of a token.
#[derive(Clone)]
enum Source {
    Text(String),
    File(PathBuf),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl ClientBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ca: None,
            identity: None,
            token: None,
            may_send_token_in_plaintext: false,
        }
    }

    /// Trusts the authorities in this PEM file for an `https://` server, instead of the system's. The file is read
    /// again for each connection.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// Presents this certificate, with its intermediates, to an `https://` server, and proves it by the private key;
    /// both PEM. The files are read again for each connection, so that certificates can be renewed.
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Sends `authorization: Bearer {token}` with every call, streams included; over plain HTTP only to this machine.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Source::Text(token.into()));
        self
    }

    /// Like [`Self::token`], with a file that is read for each call, so that tokens can be renewed. White space around
    /// the token is ignored.
    pub fn token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.token = Some(Source::File(file.into()));
        self
    }

    /// Also sends the token over plain HTTP to other machines, where anybody on the network can read it.
    pub fn allow_plaintext_token(mut self) -> Self {
        self.may_send_token_in_plaintext = true;
        self
    }

    /// Connects; fails if no server responds.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let prepared = self.prepare()?;
        let channel = channel::connect(&prepared.address, prepared.trust.clone()).await?;
        Ok(prepared.over(channel))
    }

    /// A client that connects with its first call, and again whenever the connection is lost. Fails if the URL, a file
    /// or the token cannot be used. Must be called within a Tokio runtime.
    pub fn connect_lazy(self) -> Result<Client, ClientError> {
        let prepared = self.prepare()?;
        let channel = channel::connect_lazy(&prepared.address, prepared.trust.clone())?;
        Ok(prepared.over(channel))
    }

    /// How safe the connection would be from readers.
    #[cfg(feature = "server")]
    pub(crate) fn privacy(&self) -> Option<Privacy> {
        Address::parse(&self.url).ok().map(|address| address.privacy())
    }

    fn prepare(self) -> Result<Prepared, ClientError> {
        let invalid = |rule: String| ClientError::local(Code::InvalidArgument, rule);
        let address = Address::parse(&self.url).map_err(invalid)?;
        let trust = match &address {
            Address::Tls(_) => {
                Some(Arc::new(Trust::open(self.ca, self.identity).map_err(invalid)?))
            }
            _ if self.ca.is_some() || self.identity.is_some() => {
                let rule = "certificates are for https:// only";
                return Err(invalid(format!("{}: {rule}", self.url)));
            }
            _ => None,
        };
        let token = match self.token {
            None => None,
            Some(Source::Text(text)) => Some(Token::given(&text).map_err(invalid)?),
            Some(Source::File(path)) => Some(Token::in_file(path).map_err(invalid)?),
        };
        let public_address =
            address.exposed_host().filter(|_| !self.may_send_token_in_plaintext).map(Arc::from);
        if let (Some(host), Some(_)) = (&public_address, &token) {
            return Err(invalid(in_plaintext(host)));
        }
        Ok(Prepared { url: self.url.into(), address, trust, token, public_address })
    }
}

/// The error for a token that would be sent over plain HTTP.
pub(super) fn in_plaintext(host: &str) -> String {
    format!(
        "a token would be sent to {host} over plain http://, where others can read it: use https://, or say \
         --allow-plaintext-token"
    )
}

/// Everything that can be prepared without a connection.
struct Prepared {
    url: Arc<str>,
    address: Address,
    trust: Option<Arc<Trust>>,
    token: Option<Token>,
    public_address: Option<Arc<str>>,
}

impl Prepared {
    fn over(self, channel: tonic::transport::Channel) -> Client {
        Client {
            headers: channel::Headers::new(self.token),
            url: Some(self.url),
            public_address: self.public_address,
            ..Client::from_channel(channel)
        }
    }
}
