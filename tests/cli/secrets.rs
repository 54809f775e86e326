//! Secrets and contents are where they belong, and nowhere else: not in the log, whatever its level, not in metrics, errors,
//! help or the list of processes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Server, exit_code, longrun, signal, stderr, stdout};

const INPUT: &str = "marked-input-7Qx2";
const RESULT: &str = "marked-result-9Lp4";
const SECRET: &str = "marked-secret-of-the-server-3Vn8-3Vn8-3Vn8";
const OTHER: &str = "marked-variable-5Tz1";

/// curl's standard output, body and header fields.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "-i"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn private(path: &Path, contents: &str) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_is_secret_is_shown_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (log, first, secret) = (at("log"), at("first.key"), at("secret"));
    private(&secret, SECRET);
    let store = format!("sqlite:{}", at("test.db").display());
    let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    command.args(["--log", "trace", "--handler", "env=env", "--bootstrap-key-file"]).arg(&first);
    command.arg("--secret-file").arg(&secret).env("MARKED", OTHER);
    let mut server = Server::spawned(command, directory);
    let key = fs::read_to_string(&first).unwrap().trim().to_owned();
    let as_caller =
        |key: &str, args: &[&str]| server.command(args).env("LONGRUN_TOKEN", key).output().unwrap();
    let own = |args: &[&str]| {
        let output = as_caller(&key, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    let bearer = format!("authorization: Bearer {key}");
    let worker = own(&["key", "create", "--role", "work"]);
    let as_worker = format!("authorization: Bearer {worker}");
    let url = |path: &str| format!("{}{path}", server.url);

    // A worker without a stream, and what people are given.
    let name = own(&["submit", "--quiet", "by-hand", INPUT]);
    let acquired =
        curl(&["-X", "POST", "-H", &as_worker, &url("/v1/kinds/by-hand:acquire?wait=10s")]);
    assert!(acquired.contains(INPUT), "{acquired}");
    let location = acquired.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let attempt = location.trim().rsplit('/').next().unwrap().to_owned();
    let complete = format!("{}:complete", location.trim());
    assert!(curl(&["-H", "content-type: text/plain", "-d", RESULT, &complete]).contains(" 204"));
    assert_eq!(own(&["result", &name]), RESULT);
    let share = own(&["share", &name, "--for", "1h"]);
    let shared = share.rsplit('/').next().unwrap().to_owned();
    assert!(curl(&[&format!("{share}/result")]).contains(RESULT));
    let webhook = own(&["webhook", "create", "https://receiver.example/"]);
    let webhook = webhook.split_whitespace().find(|word| word.starts_with("whsec_")).unwrap();
    // The environment of a command is not the server's.
    let environment = own(&["submit", "env", "--result", "--", "x"]);
    assert!(environment.contains("PATH=") && !environment.contains(OTHER), "{environment}");

    // Of every secret, one that is nearly right.
    let mistyped = |text: &str| format!("{}{}", &text[..text.len() - 3], "111");
    let (wrong_key, wrong_share) = (mistyped(&key), mistyped(&shared));
    let wrong_attempt = mistyped(&attempt);
    let refused = as_caller(&wrong_key, &["get", &name]);
    assert!(!refused.status.success());
    // What stands in a URL comes back to whoever sent it, in the problem's `instance`; it is not logged.
    for path in [
        format!("/v1/shares/{wrong_share}/result"),
        format!("/v1/attempts/{wrong_attempt}/input"),
        format!("/v1/operations?token={wrong_key}"),
    ] {
        assert!(curl(&["-H", &as_worker, &url(&path)]).starts_with("HTTP/1.1 4"), "{path}");
    }
    let mut seen = vec![
        ("an error of the program", stderr(&refused) + &stdout(&refused)),
        (
            "a refusal of a key",
            curl(&["-H", &format!("authorization: Bearer {wrong_key}"), &url("/v1/operations")]),
        ),
        ("the metrics", curl(&["-H", &bearer, &url("/metrics")])),
        ("the help", stdout(&as_caller(&key, &["get", "--help"]))),
        ("the list of keys", own(&["key", "list"])),
        ("the list of webhooks", own(&["webhook", "list"])),
        ("the list of shares", own(&["share", &name, "--list"])),
    ];
    let line = fs::read(format!("/proc/{}/cmdline", server.process.id())).unwrap();
    seen.push(("the list of processes", String::from_utf8(line).unwrap()));
    signal(&server.process, Signal::TERM);
    assert_eq!(exit_code(&mut server.process), Some(0));
    seen.push(("the log", fs::read_to_string(&log).unwrap()));
    assert!(seen.iter().all(|(_, text)| !text.is_empty()));

    let parts_of_key = key.rsplit('_').next().unwrap();
    for (what, text) in [
        ("the key", parts_of_key),
        ("the key of a worker", worker.rsplit('_').next().unwrap()),
        ("a key that is nearly right", wrong_key.rsplit('_').next().unwrap()),
        ("the token of an attempt", &attempt),
        ("the token of a share", &shared),
        ("a share that is nearly right", &wrong_share),
        ("an attempt that is nearly right", &wrong_attempt),
        ("the secret of a webhook", webhook),
        ("the secret of the server", SECRET),
        ("a variable of the server", OTHER),
        ("an input", INPUT),
        ("a result", RESULT),
    ] {
        for (place, shown) in &seen {
            assert!(!shown.contains(text), "{what} is in {place}: {shown}");
        }
        let files = ["test.db", "test.db-wal"].map(|name| server.directory.path().join(name));
        let is_of_contents = [INPUT, RESULT].contains(&text);
        let kept = files
            .iter()
            .filter_map(|file| fs::read(file).ok())
            .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()));
        // The secret of a webhook signs messages, so it is kept as it is.
        let is_kept = is_of_contents || text == webhook;
        assert!(!kept || is_kept, "{what} is in the store");
    }
}
