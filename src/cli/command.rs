//! The commands.

use clap::Subcommand;

use super::connection::Connection;
use super::output::{Output, Usage};
use super::remote::Remote;
use super::{
    Exit, batch, bench, change, completions, config, demo, doctor, events, get, key, limits, list,
    man, result, serve, share, standing, store, submit, top, wait, watch, webhook, worker,
};
use crate::config::file;

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in the life of the program")]
pub(super) enum Command {
    /// Run a server, optionally with commands as handlers
    Serve(serve::Args),
    /// Submit work, and get its operation at once
    Submit(submit::Args),
    /// Submit many pieces of work as the children of one operation, which ends by a rule
    Batch(batch::Args),
    /// Show an operation as it is now
    Get(get::Args),
    /// List operations
    List(list::Args),
    /// Follow an operation, or all that match a filter, as it happens
    Watch(watch::Args),
    /// Wait until an operation is done
    Wait(wait::Args),
    /// Cancel operations
    Cancel(change::CancelArgs),
    /// Let operations start now that wait for their start time or their next attempt
    RunNow(change::RunNowArgs),
    /// Delete done operations: their records, histories and payloads
    Delete(change::DeleteArgs),
    /// Submit the input of a done operation again, as a new operation
    Retry(change::RetryArgs),
    /// Write an operation's result, byte for byte
    Result(result::Args),
    /// Write an operation's input, byte for byte
    Input(result::InputArgs),
    /// Show an operation's history: transitions and the log of its workers
    Events(events::Args),
    /// Do work: run a command for each operation of a kind
    Worker(worker::Args),
    /// List the workers that are connected
    Workers(standing::WorkersArgs),
    /// List kinds, with their queued and running operations
    Kinds(standing::KindsArgs),
    /// Watch kinds, workers and transitions on one screen
    Top(top::Args),
    /// Make, list and revoke API keys
    Key(key::Args),
    /// Share an operation's status and result by a URL
    Share(share::Args),
    /// Manage webhooks: signed requests that report transitions to a receiver
    Webhook(webhook::Args),
    /// List, set and unset limits of tenants while servers run
    Limits(limits::Args),
    /// Copy or back up a store as a whole
    Store(store::Args),
    /// Check a deployment, and say what to change
    Doctor(doctor::Args),
    /// Check a configuration file, and print the effective configuration
    Config(config::Args),
    /// Measure the throughput and latency of a server
    Bench(bench::Args),
    /// Show the whole service at work: a server, real commands, gRPC and HTTP
    Demo(demo::Args),
    /// Write a completion script for a shell
    Completions(completions::Args),
    /// Write man pages, one for each command
    Man(man::Args),
}

impl Command {
    /// The default of --log: servers and workers log what they do, other commands only warnings, because they print
    /// results.
    pub(super) fn log_filter(&self) -> &'static str {
        if self.is_service() { "info" } else { "warn" }
    }

    /// Whether it runs until it is stopped.
    pub(super) const fn is_service(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Worker(_))
    }

    /// Takes the tables of the configuration file.
    pub(super) fn take_tables(&mut self, tables: file::Config) -> Result<(), Usage> {
        match self {
            Self::Serve(args) => args.take_tables(tables),
            Self::Worker(args) => args.take_tables(tables),
            _ => Ok(()),
        }
    }

    pub(super) async fn run(self, connection: &Connection, out: &Output) -> anyhow::Result<Exit> {
        let remote = || Remote::new(connection);
        match self {
            Self::Serve(args) => serve::run(args, out).await,
            Self::Submit(args) => submit::run(args, &remote()?, out).await,
            Self::Batch(args) => batch::run(args, &remote()?, out).await,
            Self::Get(args) => get::run(args, &remote()?, out).await,
            Self::List(args) => list::run(args, &remote()?, out).await,
            Self::Watch(args) => watch::run(args, &remote()?, out).await,
            Self::Wait(args) => wait::run(args, &remote()?, out).await,
            Self::Cancel(args) => change::cancel(args, &remote()?, out).await,
            Self::RunNow(args) => change::run_now(args, &remote()?, out).await,
            Self::Delete(args) => change::delete(args, &remote()?, out).await,
            Self::Retry(args) => change::retry(args, &remote()?, out).await,
            Self::Result(args) => result::run(args, &remote()?, out).await,
            Self::Input(args) => result::input(args, &remote()?, out).await,
            Self::Events(args) => events::run(args, &remote()?, out).await,
            Self::Worker(args) => worker::run(args, &remote()?, out).await,
            Self::Workers(args) => standing::workers(args, &remote()?, out).await,
            Self::Kinds(args) => standing::kinds(args, &remote()?, out).await,
            Self::Top(args) => top::run(args, &remote()?, out).await,
            Self::Key(args) => match key::run_alone(&args, out) {
                Some(exit) => exit,
                None => key::run(args, &remote()?, out).await,
            },
            Self::Webhook(args) => webhook::run(args, &remote()?, out).await,
            Self::Share(args) => share::run(args, &remote()?, out).await,
            Self::Limits(args) => limits::run(args, &remote()?, out).await,
            Self::Store(args) => store::run(args, out).await,
            Self::Doctor(args) => doctor::run(args, connection, out).await,
            Self::Config(args) => config::run(args, out),
            Self::Bench(args) => bench::run(args, connection, out).await,
            Self::Demo(args) => demo::run(args).await,
            Self::Completions(args) => completions::run(&args, out),
            Self::Man(args) => man::run(&args, out),
        }
    }
}
