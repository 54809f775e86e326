//! `longrun store backup TO`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use tokio::time::Instant;

use super::super::output::{Output, Usage};
use super::super::signals::interruptible;
use super::super::text::count;
use super::super::{Exit, text};
use super::bar::Bar;
use super::{file, open_objects};
use crate::config::{StoreUrl, objects_place};
use crate::files;
use crate::objects::Objects;
use crate::transfer::{self, BackedUp};

const EXAMPLES: &str = "\
Examples:
  longrun store backup --store sqlite:/var/lib/longrun/longrun.db /backups/monday.db
  longrun serve --store sqlite:/backups/monday.db          serves a backup as it is

The server can go on. The backup is the store as it was at one moment after the command began, with
all changes that were acknowledged before. TO must not exist; it appears when it is complete. Large
inputs and results go to TO.objects, unless they are in an object store; then the command prints
where they are.

Back up a PostgreSQL store by pg_dump or base backups.

Exit codes: 0 backed up; 1 not backed up; 2 the command line is wrong; 130 or 143 interrupted.";

/// Arguments of `store backup`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// File of the backup
    #[arg(value_name = "TO", value_parser = target)]
    to: PathBuf,
    /// Store to back up
    #[arg(
        long,
        value_name = "sqlite:PATH",
        env = "LONGRUN_STORE",
        hide_env_values = true,
        default_value_t
    )]
    store: StoreUrl,
    /// Directory or URL of the store's large inputs and results, as in `serve --objects`
    #[arg(long, value_name = "DIR|URL", env = "LONGRUN_OBJECTS", value_parser = objects_place)]
    objects: Option<String>,
}

/// A file, or the `sqlite:` URL of one.
fn target(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("sqlite:").unwrap_or(text) {
        "" => Err("must be a file, e.g. longrun.bak.db".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

pub(super) async fn run(args: Args, out: &Output) -> anyhow::Result<Exit> {
    let Args { to, store, objects } = args;
    let Some(source) = file(&store).map(Path::to_owned) else {
        let how = "--store must be sqlite:PATH, and is a PostgreSQL store: back it up by PostgreSQL's own programs, e.g. \
                   pg_dump --format=custom --file=longrun.dump";
        return Err(Usage(how.to_owned()).into());
    };
    let objects = open_objects(&store, objects.as_ref())?;
    let beside = files::resolve(&to).with_context(|| format!("failed to find {}", to.display()))?;
    let beside = files::beside(&beside, ".objects");
    let places = match objects.directory() {
        Some(_) => Some((objects.clone(), Objects::in_directory(&beside)?)),
        None => None,
    };
    let began = Instant::now();
    let backed_up = interruptible(async {
        let bar = Bar::new(out);
        let watcher = |progress| bar.show(progress);
        let places = places.as_ref().map(|(from, to)| (from, to));
        transfer::back_up(source, to.clone(), places, &watcher).await
    });
    let backed_up = match backed_up.await? {
        Ok(backed_up) => backed_up.with_context(|| format!("failed to back up {store}"))?,
        Err(signal) => return Ok(signal),
    };
    let seconds = began.elapsed().as_secs_f64();
    let BackedUp { size_bytes, objects: copied, gone } = backed_up;
    let objects_at = match places {
        Some((_, to)) => to.to_string(),
        None => objects.to_string(),
    };
    let is_elsewhere = objects.directory().is_none();
    if out.is_json() {
        out.document(&json!({
            "file": to.display().to_string(),
            "sizeBytes": size_bytes,
            "objects": copied,
            "operationsGone": gone,
            "objectsAt": objects_at,
            "objectsCopied": !is_elsewhere,
            "seconds": seconds,
        }))?;
        return Ok(Exit::Ok);
    }
    let size = text::bytes(i64::try_from(size_bytes).unwrap_or(i64::MAX));
    let mut words = format!("backed up {store} to {}: {size}", to.display());
    if copied > 0 {
        words.push_str(&format!(", and {} in {objects_at}", count(copied, "object")));
    }
    words.push_str(&format!(", in {seconds:.1} s"));
    out.line(&words)?;
    if is_elsewhere {
        out.note(&format!("the backup has no large inputs and results: they stay in {objects_at}"));
    }
    if gone > 0 {
        let operations = count(gone, "operation");
        out.note(&format!("deleted meanwhile: {operations}, whose objects are missing"));
    }
    Ok(Exit::Ok)
}
