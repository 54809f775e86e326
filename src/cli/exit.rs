//! Exit codes: an operation's outcome is not a failure of the command.

use std::process::ExitCode;

use crate::proto::v1::Operation;
use crate::proto::v1::operation::State;

/// How the program ends; the numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success; if the command waited for an operation, it SUCCEEDED.
    Ok,
    /// Failure: the server was not reached, or it refused the request.
    Failure,
    /// The command line is wrong.
    Usage,
    /// The operation FAILED.
    Failed,
    /// The operation was CANCELLED.
    Cancelled,
    /// The operation PARTIALLY_SUCCEEDED.
    PartiallySucceeded,
    /// The operation was not done when the time to wait was over.
    NotDone,
    /// The user interrupted with SIGINT.
    Interrupted,
    /// Terminated by SIGTERM.
    Terminated,
}

impl Exit {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            Self::Cancelled => 4,
            Self::PartiallySucceeded => 5,
            Self::NotDone => 6,
            Self::Interrupted => 128 + 2,
            Self::Terminated => 128 + 15,
        }
    }

    /// The exit code for an operation's state, after a wait.
    pub(super) fn of(operation: &Operation) -> Self {
        match operation.state() {
            State::Succeeded => Self::Ok,
            State::PartiallySucceeded => Self::PartiallySucceeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::Unspecified | State::Queued | State::Running | State::Cancelling => {
                Self::NotDone
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_what_the_help_says() {
        for (state, code) in [
            (State::Succeeded, 0),
            (State::Failed, 3),
            (State::Cancelled, 4),
            (State::PartiallySucceeded, 5),
            (State::Cancelling, 6),
        ] {
            let operation = Operation { state: state.into(), ..Default::default() };
            assert_eq!(Exit::of(&operation).code(), code);
        }
        assert_eq!(Exit::Interrupted.code(), 130);
    }
}
