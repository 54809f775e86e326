//! `longrun serve`: a server, with commands as handlers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::NonEmptyStringValueParser;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::host;
use super::output::{Output, Usage};
use super::signals::{Hangups, Signals};
use super::systemd;
use crate::client::Client;
use crate::config::{ServeConfig, StoreUrl, file};
use crate::operation::Kind;
use crate::relay;
use crate::server::{
    Certificates, CertificatesError, Descriptors, DescriptorsError, Server, Stopped,
};
use crate::worker::Worker;
use crate::worker::command::{Command, RetryOn};

const EXAMPLES: &str = "\
Examples:
  longrun serve
  longrun serve --handler 'shout=tr a-z A-Z' --handler 'report.build=python3 build_report.py'
  longrun serve --listen 0.0.0.0:7420 --bootstrap-key-file first.key
  longrun serve --tls-listen 127.0.0.1:7443 --tls-cert server.pem --tls-key server.key
  LONGRUN_LISTEN=127.0.0.1:0 longrun serve          the first line of output names the port

gRPC and HTTP share each port. The first line on stdout is
`longrun listening on http://HOST:PORT`, followed by one for --tls-listen (https://HOST:PORT) and
one for --listen-unix (unix:PATH), where they are given, and by `longrun metrics at URL` for
--metrics-listen; the log is on stderr.

A handler is a command line for /bin/sh; see `longrun worker --help` for what commands get and give.

SIGTERM and SIGINT stop it gracefully: from then on /readyz and health say that it is not
serving, and new submissions are refused; handlers may finish, what they do not finish goes
back to the queue, watches end to be resumed. Exit codes: 0 stopped so, 1 cut off by the
drain timeout or failed, 130 or 143 ended at once by a second signal, or before it was ready.
Nothing acknowledged is lost in any case. SIGHUP has the files of --descriptor-set, --tls-cert,
--tls-key and --tls-client-ca read again. A systemd unit with Type=notify is told of each.";

/// Arguments of `serve`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    config: ServeConfig,
    #[command(flatten)]
    handlers: HandlerArgs,
    /// Configuration file (TOML): HTTP APIs to stand in front of, dialects to speak, and limits of tenants, see
    /// docs/relay.md, docs/dialects.md and docs/limits.md
    #[arg(long = "config", value_name = "FILE", env = "LONGRUN_CONFIG")]
    file: Option<PathBuf>,
}

/// What the server executes itself.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Handlers")]
struct HandlerArgs {
    /// Execute operations of KIND by running COMMAND; repeatable
    #[arg(long = "handler", value_name = "KIND=COMMAND", env = "LONGRUN_HANDLER")]
    handlers: Vec<Handler>,
    /// How many of these commands run at once, all kinds together
    #[arg(long, value_name = "N", env = "LONGRUN_HANDLER_CONCURRENCY", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    handler_concurrency: u16,
    /// Environment variable of the server that these commands get too, beside PATH, HOME, LANG and TZ; repeatable
    #[arg(long = "handler-env", value_name = "NAME", env = "LONGRUN_HANDLER_ENV", value_parser = NonEmptyStringValueParser::new())]
    handler_variables: Vec<String>,
    /// Exit codes of these commands that ask for another attempt, beside 75: `all`, or codes like 1,64-78
    #[arg(long, value_name = "CODES", env = "LONGRUN_HANDLER_RETRY_ON")]
    handler_retry_on: Option<RetryOn>,
}

/// A kind and the command line that executes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handler {
    /// The kind.
    pub(super) kind: String,
    /// A command line for `/bin/sh`.
    pub(super) line: String,
}

impl FromStr for Handler {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, line) = text.split_once('=').ok_or("must be KIND=COMMAND")?;
        Kind::parse(kind).map_err(|error| format!("the kind {error}"))?;
        if line.trim().is_empty() {
            return Err("the command is empty".to_owned());
        }
        Ok(Self { kind: kind.to_owned(), line: line.to_owned() })
    }
}

pub(super) async fn run(args: Args, out: &Output) -> anyhow::Result<Exit> {
    let Args { mut config, handlers: commands, file: path } = args;
    let HandlerArgs { handlers, handler_concurrency, handler_variables, handler_retry_on } =
        commands;
    let handler_retry_on = handler_retry_on.unwrap_or_default();
    if let Some(file) = path {
        let file::Config { relay, dialects, limits } = read_file(&file)?;
        (config.relay, config.dialects, config.tenants) = (relay, dialects, limits);
    }
    config.validate().map_err(|error| Usage(error.to_string()))?;
    one_command_per_kind(&handlers)?;
    let mut signals = Signals::catch()?;
    let hangups = Hangups::catch()?;
    let has_types = !config.types.descriptor_sets.is_empty();
    let handlers_share = host::handlers_share(config.stop.drain_timeout);
    let max_result_bytes = config.limits.max_payload_bytes as u64;
    let store = config.store.url.to_string();
    let is_new = matches!(&config.store.url, StoreUrl::Sqlite(path) if !path.exists());
    let server = tokio::select! {
        bound = Server::bind(config) => bound.map_err(not_started)?,
        // A signal stops the start, which a large store may delay.
        signal = signals.next() => return Ok(signal),
    };
    let keeper = host::keeper()?;
    let command = |line: &str| {
        let command = Command::shell(line).with_max_result_bytes(max_result_bytes);
        let command = command.with_keeper(&keeper).with_retry_on(handler_retry_on.clone());
        command.with_variables(&handler_variables)
    };
    let worker = worker(server.local_client(), &handlers, handler_concurrency, command);
    let relaying = server.relay().mounts().iter().map(|mounted| {
        let mount = &mounted.mount;
        tracing::info!(prefix = %mount.prefix, operation.kind = %mount.kind(), "relay");
        relay::execute::worker(server.local_client(), mounted.clone(), max_result_bytes)
    });
    let workers = worker.into_iter().chain(relaying);
    let workers = workers.map(|worker| worker.drain_timeout(handlers_share)).collect();
    let version = env!("CARGO_PKG_VERSION");
    match is_new {
        true => tracing::info!(version, store, "created a new store, because there was none"),
        false => tracing::info!(version, store, "the store is open"),
    }
    announce(&server, &handlers, out)?;
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

/// Files that the command line names are its affair.
fn not_started(error: anyhow::Error) -> anyhow::Error {
    if error.is::<DescriptorsError>() || error.is::<CertificatesError>() {
        return Usage(error.to_string()).into();
    }
    error.context("failed to start the server")
}

/// Reads files again at each SIGHUP, which never ends a server. Does not end.
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

/// The configuration file. The files that it names are looked for beside it.
fn read_file(file: &Path) -> Result<file::Config, Usage> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Usage(format!("--config {name} cannot be read: {error}")))?;
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let beside = |name: &str| std::fs::read_to_string(folder.join(name));
    file::parse(&text, &beside).map_err(|error| Usage(format!("--config {name}, {error}")))
}

fn one_command_per_kind(handlers: &[Handler]) -> Result<(), Usage> {
    let mut kinds = HashSet::new();
    match handlers.iter().find(|handler| !kinds.insert(&handler.kind)) {
        Some(Handler { kind, .. }) => Err(Usage(format!("--handler {kind}=… is given twice"))),
        None => Ok(()),
    }
}

/// A worker that executes the handlers' kinds; none without handlers.
pub(super) fn worker(
    client: Client,
    handlers: &[Handler],
    concurrency: u16,
    command: impl Fn(&str) -> Command,
) -> Option<Worker> {
    if handlers.is_empty() {
        return None;
    }
    let worker = Worker::new(client).concurrency(concurrency.into());
    Some(
        handlers
            .iter()
            .fold(worker, |worker, Handler { kind, line }| worker.command(kind, command(line))),
    )
}

/// Says where the server is, for people and for programs that start it.
fn announce(server: &Server, handlers: &[Handler], out: &Output) -> anyhow::Result<()> {
    for Handler { kind, line } in handlers {
        tracing::info!(operation.kind = %kind, command = %line, "handler");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_read_up_to_the_first_equals_sign() {
        let handler: Handler = "report.build=env A=b make".parse().unwrap();
        assert_eq!(handler.kind, "report.build");
        assert_eq!(handler.line, "env A=b make");
        for wrong in ["make", "=make", "k=", "k= ", "1k=make"] {
            assert!(wrong.parse::<Handler>().is_err(), "{wrong}");
        }
    }
}
