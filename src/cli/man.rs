//! `longrun man DIR`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::output::Output;
use super::{Cli, Exit};

const EXAMPLES: &str = "\
Examples:
  longrun man ~/.local/share/man/man1
  man longrun-submit

Writes longrun.1 and one page for each command. Creates the folder if it does not exist.";

/// Arguments of `man`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder to write to
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args, out: &Output) -> anyhow::Result<Exit> {
    let folder = &args.folder;
    let failed = || format!("man pages cannot be written to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(failed)?;
    out.note(&format!("wrote the man pages to {}", folder.display()));
    Ok(Exit::Ok)
}
