//! Handlers with limits, as another user, in a directory of their own.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Server, longrun, run, stderr};

fn serve(flags: &[&str], handlers: &[&str]) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    command.args(flags);
    for handler in handlers {
        command.args(["--handler", handler]);
    }
    Server::spawned(command, directory)
}

/// How an operation of the kind ends.
fn end(server: &Server, kind: &str) -> Value {
    let output =
        server.command(&["submit", kind, "x", "--wait", "60s", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(operation: &Value) -> &str {
    operation["result"]["text"].as_str().unwrap_or_else(|| panic!("{operation}")).trim()
}

#[test]
fn limits_hold_for_a_command_and_what_it_starts_and_end_it_for_good() {
    let flags = ["--handler-limit", "cpu=1s,file-size=4KiB", "--handler-limit", "memory=1GiB"];
    let server = serve(
        &flags,
        &[
            "limits=ulimit -t; ulimit -v; cat /proc/self/limits | grep -c 'Max file size *4096'",
            "burn=sh -c 'while :; do :; done'",
            "write=head -c 10000 /dev/zero > \"$TMPDIR/longrun-too-large-$$\"; code=$?; rm -f \"$TMPDIR\"/longrun-too-large-$$; exit $code",
        ],
    );
    assert_eq!(text(&end(&server, "limits")), "1\n1048576\n1");
    let burnt = end(&server, "burn");
    assert_eq!(burnt["error"]["code"], "CPU_TIME_EXCEEDED", "{burnt}");
    assert_eq!(burnt["attempt"], 1, "it is not tried again");
    let written = end(&server, "write");
    assert_eq!(written["error"]["code"], "FILE_SIZE_EXCEEDED", "{written}");
}

#[test]
fn a_command_has_an_empty_directory_of_its_own_while_it_runs() {
    let server =
        serve(&["--handler-own-directory"], &["where=ls -A; touch mine; pwd; echo $TMPDIR"]);
    let (first, second) = (end(&server, "where"), end(&server, "where"));
    let mut lines = text(&first).lines();
    let directory = lines.next().unwrap();
    assert_eq!(lines.next(), Some(directory), "{first}");
    assert_eq!(text(&second).lines().count(), 2, "there is nothing of the first: {second}");
    assert_ne!(text(&second).lines().next(), Some(directory));
    for _ in 0..1_000 {
        if !Path::new(directory).exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{directory} is still there");
}

#[test]
fn a_command_runs_as_another_user_where_longrun_is_root() {
    let flags = ["--handler-user", "65534:65533", "--handler-own-directory"];
    if !rustix::process::geteuid().is_root() {
        let refused = run(&[&["serve", "--store", "sqlite:never.db"][..], &flags].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains("only root"), "{}", stderr(&refused));
        return;
    }
    let server = serve(&flags, &["who=id -u; id -g; id -G; touch mine && echo written"]);
    assert_eq!(text(&end(&server, "who")), "65534\n65533\n65533\nwritten");
}

#[test]
fn what_cannot_be_done_is_refused_at_the_start() {
    for (flag, value, reason) in [
        ("--handler-limit", "cpu=0", "at least 1"),
        ("--handler-limit", "disk=1", "must be cpu, memory"),
        ("--handler-limit", "memory=much", "with KiB, MiB, GiB"),
        ("--handler-user", "nobody-of-that-name", "/etc/passwd"),
    ] {
        let refused = run(&["serve", "--store", "sqlite:never.db", flag, value]);
        assert_eq!(refused.status.code(), Some(2), "{flag} {value}");
        assert!(stderr(&refused).contains(reason), "{}", stderr(&refused));
    }
}

#[test]
fn a_directory_of_its_own_is_for_its_user_alone_whatever_the_umask() {
    for umask in ["000", "022"] {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", directory.path().join("test.db").display());
        let run = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(run).arg(longrun(&[]).get_program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        command.args(["--handler-own-directory", "--handler", "mode=stat -c %a ."]);
        let server = Server::spawned(command, directory);
        assert_eq!(text(&end(&server, "mode")), "700", "umask {umask}");
    }
}
