//! The `longrun` program: parse, run, say what went wrong, choose the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use longrun::cli::{self, Cli, Exit};
use longrun::worker::command;

fn main() -> ExitCode {
    // Before anything else, and not a command of its own: it starts with every command that is run, and is not for people.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == command::KEEPER_WORD) {
        return command::keep(words);
    }
    let words = cli::joined(std::env::args_os());
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(answer) if answer.use_stderr() && json => return cli::refuse(&answer).into(),
        Err(answer) => {
            // Help and version are answers as well; a reader that went away is no failure.
            let _ignored = answer.print();
            return if answer.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    cli::run(cli).unwrap_or_else(|error| cli::report(&error, json)).into()
}
