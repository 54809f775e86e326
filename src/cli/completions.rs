//! `longrun completions SHELL`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::output::Output;
use super::{Cli, Exit};

const EXAMPLES: &str = "\
Examples:
  longrun completions bash > ~/.local/share/bash-completion/completions/longrun
  longrun completions zsh > \"${fpath[1]}/_longrun\"
  longrun completions fish > ~/.config/fish/completions/longrun.fish";

/// Arguments of `completions`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell to complete in
    shell: Shell,
}

pub(super) fn run(args: &Args, out: &Output) -> anyhow::Result<Exit> {
    // The generator panics when its writer fails; memory does not.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "longrun", &mut script);
    out.bytes(&script)?;
    Ok(Exit::Ok)
}
