//! The handlers of a process: commands and endpoints, from flags and from the configuration file.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Usage;
use super::host::keeper;
use crate::client::Client;
pub(super) use crate::config::handler::variable;
use crate::config::handler::{CommandLine, Endpoint, FieldValue, Handler, Words, Work};
use crate::relay::endpoint::Caller;
use crate::worker::Worker;
use crate::worker::command::{Command, Confinement, RetryOn};

/// Handlers, and their common settings.
#[derive(Debug)]
pub(super) struct Handlers {
    /// The handlers, one for each kind.
    pub(super) list: Vec<Handler>,
    /// Attempts that run at once, for all handlers without a concurrency of their own together.
    pub(super) concurrency: u16,
    /// Environment variables that all commands get.
    pub(super) variables: Vec<String>,
    /// Exit codes that ask for another attempt, for commands without their own.
    pub(super) retry_on: RetryOn,
    /// Limits, user and directory of commands, for commands without their own.
    pub(super) confinement: Confinement,
    /// The largest result in bytes.
    pub(super) max_result_bytes: u64,
}

/// Reads `KIND=COMMAND`.
pub(super) fn command(text: &str) -> Result<Handler, String> {
    Handler::of_flag(text, |line| match line.trim() {
        "" => Err("must have a command after KIND=".to_owned()),
        _ => Ok(Work::Command(CommandLine::new(Words::Shell(line.to_owned())))),
    })
}

/// Reads `KIND=URL`.
pub(super) fn endpoint(text: &str) -> Result<Handler, String> {
    Handler::of_flag(text, |url| Ok(Work::Endpoint(Box::new(Endpoint::new(url.parse()?)))))
}

/// The handlers of flags, and the file's handlers for other kinds. `rule` says how the command's flags name a kind.
pub(super) fn merge(
    flags: Vec<Handler>,
    file: Vec<Handler>,
    rule: &str,
) -> Result<Vec<Handler>, Usage> {
    let mut kinds = HashSet::new();
    if let Some(twice) = flags.iter().find(|handler| !kinds.insert(handler.kind.clone())) {
        let kind = &twice.kind;
        return Err(Usage(format!("{kind} has two handlers: {rule}")));
    }
    let others = file.into_iter().filter(|handler| !kinds.contains(&handler.kind));
    Ok(others.chain(flags).collect())
}

impl Handlers {
    /// Refuses handlers that this process can never execute, before it opens a store or connects to a server.
    pub(super) fn check(&self) -> Result<(), Usage> {
        self.confinement.check().map_err(Usage)?;
        for Handler { kind, work, .. } in &self.list {
            let checked = match work {
                Work::Command(command) => self.check_command(command),
                Work::Endpoint(endpoint) => check_endpoint(endpoint),
            };
            checked.map_err(|reason| Usage(format!("the handler of {kind}: {reason}")))?;
        }
        Ok(())
    }

    fn check_command(&self, command: &CommandLine) -> Result<(), String> {
        command.confinement.within(&self.confinement).check()?;
        let Words::Program(words) = &command.words else { return Ok(()) };
        match words.first().and_then(|program| unstartable(program)) {
            Some(reason) => {
                Err(format!("{reason}; name a program on PATH, or give its path, e.g. /usr/bin/tr"))
            }
            None => Ok(()),
        }
    }

    /// The workers: one for each handler with a concurrency of its own, and one for all others.
    pub(super) fn workers(&self, client: &Client) -> anyhow::Result<Vec<Worker>> {
        let mut shared = None;
        let mut workers = Vec::new();
        for handler in &self.list {
            let new =
                |concurrency: u16| Worker::new(client.clone()).concurrency(concurrency.into());
            match handler.concurrency {
                Some(own) => workers.push(self.add(new(own), handler)?),
                None => {
                    let worker = shared.take().unwrap_or_else(|| new(self.concurrency));
                    shared = Some(self.add(worker, handler)?);
                }
            }
        }
        workers.extend(shared);
        Ok(workers)
    }

    fn add(&self, worker: Worker, Handler { kind, work, .. }: &Handler) -> anyhow::Result<Worker> {
        match work {
            Work::Endpoint(endpoint) => {
                tracing::info!(operation.kind = %kind, url = %endpoint.url, "handler");
                let caller = Caller::new(kind, (**endpoint).clone(), self.max_result_bytes);
                let caller = caller.map_err(|error| Usage(error.to_string()))?;
                Ok(caller.serve(worker, kind))
            }
            Work::Command(CommandLine { words, variables, retry_on, confinement }) => {
                let command = match words {
                    Words::Shell(line) => {
                        tracing::info!(operation.kind = %kind, command = %line, "handler");
                        Command::shell(line)
                    }
                    Words::Program(words) => {
                        let mut words = words.iter().cloned();
                        let program = words.next().unwrap_or_default();
                        tracing::info!(operation.kind = %kind, command = %program.display(), "handler");
                        Command::new(program, words)
                    }
                };
                let retry_on = retry_on.clone().unwrap_or_else(|| self.retry_on.clone());
                let command = command
                    .with_keeper(keeper()?)
                    .with_max_result_bytes(self.max_result_bytes)
                    .with_retry_on(retry_on)
                    .with_confinement(confinement.within(&self.confinement))
                    .with_variables(self.variables.iter().chain(variables));
                Ok(worker.command(kind, command))
            }
        }
    }
}

/// A variable that is not set stays so while this process runs; a file may come.
fn check_endpoint(endpoint: &Endpoint) -> Result<(), String> {
    let missing = endpoint.headers.iter().find_map(|(field, value)| match value {
        FieldValue::Variable(name) if std::env::var_os(name).is_none() => Some((field, name)),
        _ => None,
    });
    match missing {
        Some((field, name)) => Err(format!(
            "the variable {name} of its header field {field} is not set; set it, e.g. {name}=TOKEN longrun serve, or \
             name a file, e.g. {{ file = \"token\" }}"
        )),
        None => Ok(()),
    }
}

/// Why the system would not start a program of that name.
fn unstartable(program: &OsStr) -> Option<String> {
    // Any execute bit counts, because a command may run as another user than this process.
    let is_executable = |path: &Path| {
        let metadata = path.metadata();
        metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let name = program.display();
    if program.as_encoded_bytes().contains(&b'/') {
        let path = Path::new(program);
        return match path.exists() {
            _ if is_executable(path) => None,
            true => Some(format!("{name} is not an executable file")),
            false => Some(format!("there is no program '{name}'")),
        };
    }
    // Without PATH the system uses its default.
    let path = std::env::var_os("PATH")?;
    let is_found =
        std::env::split_paths(&path).any(|directory| is_executable(&directory.join(program)));
    (!is_found).then(|| format!("there is no program '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_read_up_to_the_first_equals_sign() {
        let handler = command("report.build=env A=b make").unwrap();
        assert_eq!(handler.kind, "report.build");
        let line = Words::Shell("env A=b make".to_owned());
        assert_eq!(handler.work, Work::Command(CommandLine::new(line)));
        for wrong in ["make", "=make", "k=", "k= ", "1k=make"] {
            assert!(command(wrong).is_err(), "{wrong}");
        }
        assert!(endpoint("k=https://h/p?a=b").is_ok() && endpoint("k=h").is_err());
    }

    #[test]
    fn flags_win_over_the_file_for_their_kinds() {
        let [a, other_a, b] = ["a=1", "a=2", "b=3"].map(|text| command(text).unwrap());
        let merged = merge(vec![a.clone()], vec![other_a.clone(), b.clone()], "").unwrap();
        assert_eq!(merged, [b, a.clone()]);
        assert!(merge(vec![a, other_a], Vec::new(), "").is_err());
    }
}
