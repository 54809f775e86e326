//! `longrun serve`: a server, with commands and HTTP endpoints as handlers.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::handlers::{self, Handlers};
use super::host;
use super::output::{Output, Usage};
use super::signals::{Hangups, Signals};
use super::{Exit, configured, refusal, systemd};
use crate::config::confinement::{Limit, OwnConfinement, User};
use crate::config::handler::Handler;
use crate::config::{ServeConfig, StoreUrl, file, whole};
use crate::relay;
use crate::server::{
    Certificates, CertificatesError, Descriptors, DescriptorsError, Server, Stopped,
};
use crate::worker::Worker;
use crate::worker::command::{Confinement, RetryOn};

const EXAMPLES: &str = "\
Examples:
  longrun serve
  longrun serve --handler 'shout=tr a-z A-Z' --handler 'report.build=python3 build_report.py'
  longrun serve --handler-url 'thumbnail=https://functions.example.com/thumbnail'
  longrun serve --config longrun.toml               see `longrun config check --help`
  longrun serve --listen 0.0.0.0:7420 --bootstrap-key-file first.key
  longrun serve --tls-listen 127.0.0.1:7443 --tls-cert server.pem --tls-key server.key
  LONGRUN_LISTEN=127.0.0.1:0 longrun serve          the first line of output names the port

gRPC and HTTP share each port. The first line on stdout is
`longrun listening on http://HOST:PORT`. With --tls-listen (https://HOST:PORT) and --listen-unix
(unix:PATH) one such line follows for each, and with --metrics-listen `longrun metrics at URL`. The
log is on stderr.

A handler is a command line for /bin/sh (`longrun worker --help` describes its input and output), or
the URL of a function or a web service (docs/workers.md).

SIGTERM and SIGINT stop the server gracefully: /readyz and health report that it is not serving, and
it refuses new submissions. Handlers may finish; unfinished attempts go back to the queue. Watches
end, and clients resume them. Exit codes: 0 stopped gracefully, 1 cut off by the drain timeout or
failed, 130 or 143 ended at once by a second signal, or before it was ready. No acknowledged change
is ever lost. On SIGHUP the server reads the files of --descriptor-set, --tls-cert, --tls-key and
--tls-client-ca again. It notifies a systemd unit with Type=notify of each of these.";

/// Arguments of `serve`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    config: ServeConfig,
    #[command(flatten)]
    handlers: HandlerArgs,
    /// Configuration file (TOML): any of these flags as a key; and tables of handlers, of HTTP APIs to relay, of dialects
    /// and of limits of tenants, see docs/configuration.md
    #[arg(long = "config", value_name = "FILE", env = "LONGRUN_CONFIG")]
    file: Option<PathBuf>,
    /// The handlers of flags and file.
    #[arg(skip)]
    merged: Vec<Handler>,
}

/// The handlers that run in the server.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Handlers")]
struct HandlerArgs {
    /// Execute operations of KIND by running COMMAND; repeatable
    #[arg(long = "handler", value_name = "KIND=COMMAND", env = "LONGRUN_HANDLER", value_parser = handlers::command)]
    commands: Vec<Handler>,
    /// Execute operations of KIND by posting their inputs to URL; repeatable
    #[arg(long = "handler-url", value_name = "KIND=URL", env = "LONGRUN_HANDLER_URL", value_parser = handlers::endpoint)]
    endpoints: Vec<Handler>,
    /// Attempts that run at once, for all handlers without a `concurrency` of their own together
    #[arg(long, value_name = "N", env = "LONGRUN_HANDLER_CONCURRENCY", default_value_t = 4, value_parser = whole(1_u16..=10_000))]
    handler_concurrency: u16,
    /// Environment variable of the server that commands also get, besides PATH, HOME, LANG and TZ; repeatable
    #[arg(long = "handler-env", value_name = "NAME", env = "LONGRUN_HANDLER_ENV", value_parser = handlers::variable)]
    handler_variables: Vec<String>,
    /// Exit codes of commands that ask for another attempt, besides 75: `all`, or codes such as 1,64-78
    #[arg(long, value_name = "CODES", env = "LONGRUN_HANDLER_RETRY_ON")]
    handler_retry_on: Option<RetryOn>,
    /// Limit of each process of these commands: cpu=10s, memory=512MiB, file-size=1GiB, processes=64 or
    /// open-files=256; repeatable
    #[arg(
        long = "handler-limit",
        value_name = "NAME=MOST",
        env = "LONGRUN_HANDLER_LIMIT",
        value_delimiter = ','
    )]
    handler_limits: Vec<Limit>,
    /// Run these commands as this user, by name or as UID:GID; the server must be root
    #[arg(long, value_name = "USER", env = "LONGRUN_HANDLER_USER")]
    handler_user: Option<User>,
    /// Run each of these commands in an empty directory of its own, which is removed afterwards
    #[arg(long, env = "LONGRUN_HANDLER_OWN_DIRECTORY")]
    handler_own_directory: bool,
}

impl Args {
    /// Takes the tables of the configuration file. Its settings are among the flags already.
    pub(super) fn take_tables(&mut self, tables: file::Config) -> Result<(), Usage> {
        let file::Config { settings: _, relay, dialects, handlers, limits } = tables;
        (self.config.relay, self.config.dialects, self.config.tenants) = (relay, dialects, limits);
        let HandlerArgs { commands, endpoints, .. } = &mut self.handlers;
        let flags = [std::mem::take(commands), std::mem::take(endpoints)].concat();
        let rule =
            "give --handler or --handler-url once for each kind, e.g. --handler 'shout=tr a-z A-Z'";
        self.merged = handlers::merge(flags, handlers, rule)?;
        self.config
            .validate()
            .map_err(|error| refusal::of_config(&error, &configured::command("serve")))
    }
}

impl HandlerArgs {
    /// These handlers with the common settings of the flags.
    fn with(self, list: Vec<Handler>, max_result_bytes: u64) -> Handlers {
        let of_all = OwnConfinement {
            limits: self.handler_limits,
            user: self.handler_user,
            own_directory: Some(self.handler_own_directory),
        };
        Handlers {
            list,
            concurrency: self.handler_concurrency,
            variables: self.handler_variables,
            retry_on: self.handler_retry_on.unwrap_or_default(),
            confinement: of_all.within(&Confinement::default()),
            max_result_bytes,
        }
    }
}

pub(super) async fn run(args: Args, out: &Output) -> anyhow::Result<Exit> {
    let Args { config, handlers, merged, file: _ } = args;
    let handlers = handlers.with(merged, config.limits.max_payload_bytes as u64);
    handlers.check()?;
    let mut signals = Signals::catch()?;
    let hangups = Hangups::catch()?;
    let has_types = !config.types.descriptor_sets.is_empty();
    let handlers_share = host::handlers_share(config.stop.drain_timeout);
    let store = config.store.url.to_string();
    warn_of_shared_origin(&config);
    let is_new = begins_store(&config.store.url);
    let server = tokio::select! {
        bound = Server::bind(config) => bound.map_err(not_started)?,
        // A signal ends a start that a large store delays.
        signal = signals.next() => return Ok(signal),
    };
    let workers = workers(&server, &handlers)?.into_iter();
    let workers = workers.map(|worker| worker.drain_timeout(handlers_share)).collect();
    log_opened(&server, &store, is_new);
    announce(&server, out)?;
    systemd::ready();
    let types = has_types.then(|| server.descriptors().clone());
    let mut reloading = std::pin::pin!(reload(types, server.certificates().cloned(), hangups));
    let stop = CancellationToken::new();
    let mut hosting = std::pin::pin!(host::host(server, workers, stop.clone()));
    loop {
        tokio::select! {
            stopped = &mut hosting => return stopped.map(exit),
            signal = signals.next() => {
                if stop.is_cancelled() {
                    tracing::warn!("ended at once by a second signal");
                    return Ok(signal);
                }
                tracing::info!(signal = ?signal, "asked to stop");
                systemd::stopping();
                stop.cancel();
            }
            () = &mut reloading => {}
        }
    }
}

fn warn_of_shared_origin(config: &ServeConfig) {
    if config.has_pages() && !config.relay.is_empty() {
        tracing::warn!(
            "pages and mounted APIs have one origin: a script that a mounted API serves can do what people who are \
             signed in to the pages may do; give one of them a host name of its own, or set --pages off"
        );
    }
}

/// Whether opening the store begins a new one: an empty file becomes one, too.
fn begins_store(url: &StoreUrl) -> bool {
    let is_empty = |path: &PathBuf| std::fs::metadata(path).map_or(true, |found| found.len() == 0);
    matches!(url, StoreUrl::Sqlite(path) if is_empty(path))
}

/// The workers within the server: of handlers, and of relays.
fn workers(server: &Server, handlers: &Handlers) -> anyhow::Result<Vec<Worker>> {
    let mut workers = handlers.workers(&server.local_client())?;
    workers.extend(server.relay().mounts().iter().map(|mounted| {
        let mount = &mounted.mount;
        tracing::info!(prefix = %mount.prefix, operation.kind = %mount.kind(), "relay");
        relay::execute::worker(server.local_client(), mounted.clone(), handlers.max_result_bytes)
    }));
    Ok(workers)
}

fn log_opened(server: &Server, store: &str, is_new: bool) {
    let version = env!("CARGO_PKG_VERSION");
    let unfinished = server.outstanding();
    let listening = server.urls().join(" ");
    match is_new {
        true => tracing::info!(
            version,
            store,
            listening,
            "created a new store, because there was none; if you expected operations, check --store"
        ),
        false => tracing::info!(version, store, listening, unfinished, "the store is open"),
    }
}

/// A bad file that the command line names makes the command line wrong.
fn not_started(error: anyhow::Error) -> anyhow::Error {
    if error.is::<DescriptorsError>() || error.is::<CertificatesError>() {
        return Usage(error.to_string()).into();
    }
    error.context("failed to start the server")
}

/// Reads files again at each SIGHUP. Never returns.
async fn reload(
    types: Option<Descriptors>,
    certificates: Option<Certificates>,
    mut hangups: Hangups,
) {
    loop {
        hangups.next().await;
        systemd::reloading();
        if types.is_none() && certificates.is_none() {
            tracing::info!("SIGHUP: there are no files to read again");
        }
        if let Some(types) = &types {
            match types.reload().await {
                Ok(()) => tracing::info!("the files of --descriptor-set were read again"),
                Err(error) => tracing::error!(%error, "the types stay as they were"),
            }
        }
        if let Some(certificates) = &certificates {
            match certificates.reload().await {
                Ok(true) => tracing::info!("the certificates were read again"),
                Ok(false) => tracing::info!("the certificates have not changed"),
                Err(error) => tracing::error!(%error, "the certificates stay as they were"),
            }
        }
        systemd::ready();
    }
}

/// Prints the server's addresses, for people and for programs that start it.
fn announce(server: &Server, out: &Output) -> anyhow::Result<()> {
    for url in server.urls() {
        match out.is_json() {
            true => out.record(&serde_json::json!({ "listening": url }))?,
            false => out.line(&format!("longrun listening on {url}"))?,
        }
    }
    if let Some(url) = server.metrics_url() {
        match out.is_json() {
            true => out.record(&serde_json::json!({ "metrics": url }))?,
            false => out.line(&format!("longrun metrics at {url}"))?,
        }
    }
    Ok(())
}

fn exit(stopped: Stopped) -> Exit {
    match stopped {
        Stopped::Drained => {
            tracing::info!("stopped");
            Exit::Ok
        }
        Stopped::CutOff => {
            tracing::warn!(
                "stopped; calls that were not done within the drain timeout were cut off"
            );
            Exit::Failure
        }
    }
}
