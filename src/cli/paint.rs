//! Colors, if the output is a terminal.

use crate::proto::v1::operation::State;

/// Colors text, or returns it unchanged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    enabled: bool,
}

impl Paint {
    /// Colors if the text goes to a terminal and `NO_COLOR` is unset (<https://no-color.org>).
    pub(super) fn new(is_terminal: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { enabled: is_terminal && !set("NO_COLOR") && !dumb }
    }

    /// Whether text is colored.
    pub(super) fn is_enabled(self) -> bool {
        self.enabled
    }

    /// Never colors.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { enabled: false }
    }

    /// A heading.
    pub(super) fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// Less important text.
    pub(super) fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    /// An error.
    pub(super) fn red(self, text: &str) -> String {
        self.code("31", text)
    }

    /// A command that people can type.
    pub(super) fn cyan(self, text: &str) -> String {
        self.code("36", text)
    }

    /// A text about an operation in this state, e.g. the state's name with padding.
    pub(super) fn state(self, state: State, text: &str) -> String {
        let code = match state {
            State::Unspecified | State::Queued => return text.to_owned(),
            State::Running => "36",
            State::Cancelling | State::Cancelled | State::PartiallySucceeded => "33",
            State::Succeeded => "32",
            State::Failed => "31",
        };
        self.code(code, text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.enabled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
