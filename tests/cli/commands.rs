//! Commands and the process that runs them.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use super::support::{Server, longrun};

/// Writes its process id and that of a child that ignores SIGTERM to a file, then stays.
fn staying(file: &Path) -> String {
    let file = file.display();
    format!("sh -c 'trap \"\" TERM; echo $$; exec sleep 600' >> {file} & echo $$ >> {file}; wait")
}

/// The process ids that two processes of a command have written.
fn pids(file: &Path) -> Vec<String> {
    let pids = || {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (text.ends_with('\n') && lines.len() == 2).then_some(lines)
    };
    until("the command to run", pids)
}

fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        match look() {
            Some(found) => return found,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("waited for {what} in vain");
}

/// SIGKILL ends the process and, through it, all of its commands.
fn killed_with_its_commands(process: &mut Child, file: &Path) {
    let pids = pids(file);
    assert!(pids.iter().all(|pid| runs(pid)));
    process.kill().unwrap();
    process.wait().unwrap();
    until("the end of the command", || pids.iter().all(|pid| !runs(pid)).then_some(()));
}

#[test]
fn a_server_that_is_killed_takes_its_commands_along() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let mut server = Server::start(&[&format!("stay={}", staying(&file))]);
    server.submit(&["stay"]);
    killed_with_its_commands(&mut server.process, &file);
}

#[test]
fn a_worker_that_is_killed_takes_its_commands_along() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let server = Server::start(&[]);
    server.submit(&["stay"]);
    let mut worker = longrun(&["worker", "stay", "--", "sh", "-c", &staying(&file)])
        .env("LONGRUN_SERVER", &server.url)
        .spawn()
        .unwrap();
    killed_with_its_commands(&mut worker, &file);
}
