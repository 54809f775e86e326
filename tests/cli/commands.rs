//! Commands and the process that runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use super::support::{Server, longrun, stderr};

/// Reports its process id and those of a child that ignores SIGTERM and of one in a session of its own, then stays.
const STAYING: &str = "sh -c 'trap \"\" TERM; echo pid $$ >&2; exec sleep 600' & \
                       (setsid sh -c 'echo pid $$ >&2; exec sleep 600' &) & \
                       echo pid $$ >&2; wait; sleep 600";

/// The process ids that the processes of a command have told, in the history of their operation.
fn pids(server: &Server, name: &str) -> Vec<String> {
    until("the command to run", || {
        let history = server.expect(0, &["events", name]);
        let pids = history.lines().filter_map(|line| Some(line.split_once("pid ")?.1.to_owned()));
        Some(pids.collect::<Vec<_>>()).filter(|pids| pids.len() == 3)
    })
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
fn killed_with_its_commands(process: &mut Child, pids: &[String]) {
    assert!(pids.iter().all(|pid| runs(pid)));
    process.kill().unwrap();
    process.wait().unwrap();
    let killed = Instant::now();
    until("the end of the command", || pids.iter().all(|pid| !runs(pid)).then_some(()));
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
}

#[test]
fn a_server_that_is_killed_takes_its_commands_along() {
    let mut server = Server::start(&[&format!("stay={STAYING}")]);
    let name = server.submit(&["stay"]);
    let pids = pids(&server, &name);
    killed_with_its_commands(&mut server.process, &pids);
}

#[test]
fn a_worker_that_is_killed_takes_its_commands_along() {
    let server = Server::start(&[]);
    let name = server.submit(&["stay"]);
    let mut worker = longrun(&["worker", "stay", "--", "sh", "-c", STAYING])
        .env("LONGRUN_SERVER", &server.url)
        .spawn()
        .unwrap();
    let pids = pids(&server, &name);
    killed_with_its_commands(&mut worker, &pids);
}

/// Of what may be a password, nothing; of what a program needs to run, all.
#[test]
fn commands_get_no_variables_but_those_that_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let mut serve = longrun(&["serve", "--listen", "127.0.0.1:0", "--handler", "show=env"]);
    serve.args(["--handler-env", "NAMED", "--handler-env", "UNSET"]);
    serve.env("LONGRUN_STORE", &store).env("AWS_SECRET_ACCESS_KEY", "secret").env("NAMED", "yes");
    let server = Server::spawned(serve, directory);
    let name = server.submit(&["show"]);
    server.expect(0, &["wait", &name]);
    let shown = server.expect(0, &["result", &name]);
    assert!(shown.contains("NAMED=yes\n") && shown.contains("\nPATH=") && shown.contains(&name));
    for secret in ["AWS_", "LONGRUN_STORE", "UNSET"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    server.submit(&["by-worker"]);
    let mut worker = longrun(&["worker", "by-worker", "--env", "NAMED", "--", "env"]);
    worker.env("LONGRUN_SERVER", &server.url).env("SECRET", "secret").env("NAMED", "yes");
    let mut worker = worker.spawn().unwrap();
    let name = server.submit(&["by-worker"]);
    server.expect(0, &["wait", &name]);
    worker.kill().unwrap();
    worker.wait().unwrap();
    let shown = server.expect(0, &["result", &name]);
    assert!(shown.contains("NAMED=yes") && !shown.contains("SECRET"), "{shown}");
}

/// Inputs and results are other people's: whatever the umask, they are the owner's alone.
#[test]
fn files_of_a_store_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    fs::create_dir(&made).unwrap();
    let path = made.join("test.db");
    let serve = format!(
        "umask 000; exec {} serve --listen 127.0.0.1:0 --handler big='head -c 3000000 /dev/zero'",
        env!("CARGO_BIN_EXE_longrun")
    );
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &serve]).env("LONGRUN_STORE", format!("sqlite:{}", path.display()));
    let server = Server::spawned(command, directory);
    let name = server.submit(&["big"]);
    server.expect(0, &["wait", &name]);
    let backup = server.directory.path().join("backup.db");
    let (store, to) = (format!("sqlite:{}", path.display()), backup.display().to_string());
    let copied = longrun(&["store", "backup", "--store", &store, &to]).output().unwrap();
    assert!(copied.status.success(), "{}", stderr(&copied));
    let within = |path: &Path| {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let mut found = [vec![backup], within(&made)].concat();
    let directories = found.clone().into_iter().chain(within(server.directory.path()));
    let objects: Vec<_> =
        directories.filter(|path| path.to_string_lossy().ends_with(".objects")).collect();
    assert_eq!(objects.len(), 2, "the store's and the backup's: {objects:?}");
    found.extend(objects.iter().flat_map(|directory| within(directory)));
    assert!(found.len() >= 8, "{found:?}");
    for path in found {
        let metadata = fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, if metadata.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}
