//! `longrun store`: commands for whole stores, without a server.

use std::path::Path;

use super::Exit;
use super::output::Output;
use crate::config::{self, StoreUrl};
use crate::objects::Objects;
use crate::server;

mod backup;
mod bar;
mod copy;

const EXAMPLES: &str = "\
Examples:
  longrun store backup --store sqlite:longrun.db backups/monday.db
  longrun store copy sqlite:longrun.db sqlite:/mnt/larger/longrun.db

`longrun store COMMAND --help` has more. docs/stores.md says what is copied, and how it is checked.";

/// Arguments of `store`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Copy a whole store to another, and compare both
    Copy(copy::Args),
    /// Back up a store, even while a server uses it
    Backup(backup::Args),
}

pub(super) async fn run(args: Args, out: &Output) -> anyhow::Result<Exit> {
    match args.command {
        Command::Copy(args) => copy::run(args, out).await,
        Command::Backup(args) => backup::run(args, out).await,
    }
}

/// The file of an embedded store.
fn file(url: &StoreUrl) -> Option<&Path> {
    match url {
        StoreUrl::Sqlite(path) => Some(path),
        StoreUrl::Postgres(_) => None,
    }
}

/// The objects of a store: in the place that `objects` names, or in the server's default place.
fn open_objects(url: &StoreUrl, objects: Option<&String>) -> anyhow::Result<Objects> {
    let (url, objects) = (url.clone(), objects.cloned());
    let place = config::Store { url, objects, ..config::Store::default() }.objects();
    server::open_objects(place.as_deref())
}
