//! The `longrun` program: parse, run, say what went wrong, choose the exit code.

use std::process::ExitCode;

use longrun::cli;
use longrun::worker::command;

fn main() -> ExitCode {
    // Before anything else, and not a command of its own: it starts with every command that is run, and is not for people.
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == command::KEEPER_WORD => return command::keep(words),
        Some(word) if word == command::CONFINE_WORD => return command::confine(words),
        _ => {}
    }
    if let Some(exit) = cli::complete(&std::env::args_os().collect::<Vec<_>>()) {
        return exit.into();
    }
    let words = cli::joined(std::env::args_os());
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let cli = match cli::parse(words) {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(error, json).into(),
    };
    cli::run(cli).unwrap_or_else(|error| cli::report(&error, json)).into()
}
