//! The command line as Markdown, from the same declarations as `--help`.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use longrun::cli::Cli;

const NAME: &str = "cli.md";
const HEAD: &str = "<!-- Made of the command line's own help by tests/reference: change src/cli. -->

# Command line

`longrun COMMAND --help` shows the same as this page. [Tutorial](../tutorial.md) shows commands at work.
Each flag with `[env: …]` can be set by that variable.

";

/// The page's name and text.
pub(crate) fn page() -> (String, String) {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut text = HEAD.to_owned();
    let mut all = Vec::new();
    commands(&root, &mut all);
    for command in &all {
        let name = name(command);
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(text, "- [`{name}`](#{}): {about}", name.replace(' ', "-")).unwrap();
    }
    text.push_str("\n## longrun\n\nThese options belong to every command.\n\n");
    block(&mut text, root.clone(), true);
    for command in all {
        write!(text, "## {}\n\n", name(&command)).unwrap();
        block(&mut text, command, false);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    (NAME.to_owned(), text)
}

/// Every command that people are meant to use, each before those within it.
fn commands(outer: &Command, all: &mut Vec<Command>) {
    for command in outer.get_subcommands() {
        if command.is_hide_set() || command.get_name() == "help" {
            continue;
        }
        all.push(command.clone());
        commands(command, all);
    }
}

fn name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

/// What `--help` says. Options of every command are shown with the root alone, and no value that the environment has.
fn block(text: &mut String, command: Command, is_root: bool) {
    let mut command = command.term_width(100).mut_args(|argument| {
        let is_known = !is_root && (argument.is_global_set() || argument.get_id() == "help");
        let is_hidden = argument.is_hide_set() || is_known;
        argument.hide_env_values(true).hide(is_hidden)
    });
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.trim().lines().map(str::trim_end).collect();
    write!(text, "```text\n{}\n```\n\n", help.join("\n")).unwrap();
}
