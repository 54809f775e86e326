//! The database server, and the tasks of all connections to it.

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::addresses::{self, Address};
use super::error::describe;
use super::tls;
use super::url::{Encryption, Target};

/// The time limit for opening a connection.
pub(super) const CONNECTING: Duration = Duration::from_secs(4);
/// How long a closed connection has to say goodbye to the server.
const PARTING: Duration = Duration::from_millis(500);
/// The time limit for each address of the server, unless the URL has another.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unconfirmed, and after how long silence is probed.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;

/// The database server.
pub(super) struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// The server's name, without secrets.
    pub(super) name: String,
    /// All tasks of the store.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the store closes: nothing new begins.
    pub(super) closing: CancellationToken,
    /// Cancelled when nothing is waited for any longer.
    pub(super) cut: CancellationToken,
}

impl Server {
    /// Reads the certificates; blocks.
    pub(super) fn new(target: Target) -> Result<Arc<Self>, String> {
        let Target { mut config, encryption, root_certificates, name } = target;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(ADDRESS_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(USER_TIMEOUT);
        }
        // The library's default of two hours, which means that the URL does not set it.
        if config.get_keepalives_idle() == Duration::from_secs(2 * 60 * 60) {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("longrun");
        }
        // As everywhere, connections over sockets of this machine are not encrypted.
        let is_local = config.get_hostaddrs().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let encryption = if is_local { Encryption::Off } else { encryption };
        config.ssl_mode(match encryption {
            Encryption::Off => SslMode::Disable,
            Encryption::Preferred => SslMode::Prefer,
            _ => SslMode::Require,
        });
        addresses::check(&config)?;
        let tls = tls::connector(encryption, root_certificates.as_deref().map(Path::new))?;
        Ok(Arc::new(Self {
            config,
            tls,
            name,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
        }))
    }

    /// Opens a connection to the first address that accepts writes; a task drives it until `open` is cancelled. The
    /// error has the error of each address.
    pub(super) async fn connect(
        &self,
        open: CancellationToken,
        hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Client, String> {
        if self.closing.is_cancelled() {
            return Err("the store is closed".to_owned());
        }
        let cut = self.cut.clone();
        let mut failures = Vec::new();
        let connecting = async {
            for Address { name, config } in addresses::of(&self.config, &mut failures).await {
                let failed = match &self.tls {
                    None => match config.connect(NoTls).await {
                        Ok((client, connection)) => {
                            let driven = drive(connection, open, hear);
                            self.tasks.spawn(cut.run_until_cancelled_owned(driven));
                            return Some(client);
                        }
                        Err(error) => error,
                    },
                    Some(tls) => match config.connect(tls.clone()).await {
                        Ok((client, connection)) => {
                            let driven = drive(connection, open, hear);
                            self.tasks.spawn(cut.run_until_cancelled_owned(driven));
                            return Some(client);
                        }
                        Err(error) => error,
                    },
                };
                failures.push((name, describe(&failed)));
            }
            None
        };
        match timeout(CONNECTING, connecting).await {
            Ok(Some(client)) => Ok(client),
            Ok(None) => Err(addresses::words(&failures)),
            Err(_) if failures.is_empty() => {
                Err(format!("there was no connection within {CONNECTING:?}"))
            }
            Err(_) => Err(format!(
                "there was no connection within {CONNECTING:?} ({})",
                addresses::words(&failures)
            )),
        }
    }

    /// Has the database stop a connection's statement. Close the connection then: the next statement may be hit.
    pub(super) async fn stop(&self, token: CancelToken) {
        let stopping = async {
            match &self.tls {
                None => token.cancel_query(NoTls).await,
                Some(tls) => token.cancel_query(tls.clone()).await,
            }
        };
        // Otherwise the statement ends when its time is up.
        if let Ok(Err(error)) = timeout(CONNECTING, stopping).await {
            tracing::debug!(error = %describe(&error), "a list was not stopped");
        }
    }
}

/// Moves bytes until the connection ends, or a moment after it was closed.
async fn drive<S, T>(
    mut connection: Connection<S, T>,
    open: CancellationToken,
    mut hear: impl FnMut(AsyncMessage),
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut moving = std::pin::pin!(async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(message) => hear(message),
                Err(error) => {
                    tracing::debug!(error = %describe(&error), "a connection to the database ended");
                    return;
                }
            }
        }
    });
    tokio::select! {
        () = &mut moving => {}
        () = open.cancelled() => {
            let _ = timeout(PARTING, moving).await;
        }
    }
}
