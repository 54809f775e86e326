//! A command line that clap refuses, in parts for programs: the message, what would help, and the usage.

use clap::error::ErrorKind;

/// The parts of a refusal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct WrongLine {
    message: String,
    /// What would help, such as an example; empty if there is nothing.
    pub(super) hint: String,
    /// How the command is used; empty where the message is about one value.
    pub(super) usage: String,
}

impl WrongLine {
    pub(super) fn of(error: &clap::Error) -> Self {
        match error.kind() {
            // clap returns the whole help.
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Self {
                message: "a command is missing".to_owned(),
                hint: "--help lists the commands".to_owned(),
                usage: String::new(),
            },
            _ => Self::read(&error.render().to_string()),
        }
    }

    /// clap separates the parts by empty lines.
    fn read(text: &str) -> Self {
        let mut parts = text.split("\n\n");
        let message = one_line(parts.next().unwrap_or_default());
        let (mut hints, mut usage) = (Vec::new(), String::new());
        for part in parts {
            match part.trim().strip_prefix("Usage: ") {
                Some(line) => usage = one_line(line),
                None => {
                    hints.extend(part.lines().filter_map(|line| line.trim().strip_prefix("tip: ")))
                }
            }
        }
        let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
        Self { message, hint: hints.join("; "), usage }
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_in_its_parts() {
        let text = "error: the following required arguments were not provided:\n  <KIND>\n\n  tip: one\n  tip: two\n\n\
                    Usage: longrun submit [OPTIONS] <KIND> [INPUT]\n\nFor more information, try '--help'.\n";
        let read = WrongLine::read(text);
        assert_eq!(read.to_string(), "the following required arguments were not provided: <KIND>");
        assert_eq!(read.hint, "one; two");
        assert_eq!(read.usage, "longrun submit [OPTIONS] <KIND> [INPUT]");
    }
}
