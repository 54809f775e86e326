//! What a server and its commands say and refuse about secrets, credentials and limits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::{Server, longrun, stderr};

const PATIENCE: Duration = Duration::from_secs(20);

fn serve(store: &Path, edit: impl FnOnce(&mut Command)) -> Server {
    let store = format!("sqlite:{}", store.display());
    let mut command = longrun(&["serve", "--store", &store]);
    edit(&mut command);
    Server::spawned(command, tempfile::tempdir().unwrap())
}

fn log(server: &Server) -> String {
    std::fs::read_to_string(server.directory.path().join("log")).unwrap()
}

/// The log once it says this so many times.
fn log_with(server: &Server, text: &str, times: usize) -> String {
    let began = Instant::now();
    loop {
        let log = log(server);
        if log.matches(text).count() >= times {
            return log;
        }
        assert!(began.elapsed() < PATIENCE, "{text}: {log}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The status of a request with a JSON body.
fn ask(server: &Server, request: &str, token: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn private_file(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_a_limit_refuses_is_recorded_with_its_caller() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first.key");
    let server = serve(&directory.path().join("test.db"), |command| {
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--bootstrap-key-file"]);
        command.arg(&first);
    });
    let key = std::fs::read_to_string(&first).unwrap().trim().to_owned();
    let limit = "{\"what\": \"outstanding\", \"tenant\": \"default\", \"most\": \"1\"}";
    assert_eq!(ask(&server, "POST /v1/limits", &key, limit), 200);
    let new = "{\"kind\": \"demo\"}";
    assert_eq!(ask(&server, "POST /v1/operations", &key, new), 202);
    let mut submit = server.command(&["submit", "demo"]);
    assert!(!submit.env("LONGRUN_TOKEN_FILE", &first).output().unwrap().status.success());
    log_with(&server, "/longrun.v1.Operations/Submit", 1);
    // At most 20 a second are recorded; the next record says how many were omitted.
    let began = Instant::now();
    let has_omitted = |log: &str| {
        let counts = log.split("\"left_out\":").skip(1);
        counts.into_iter().any(|count| !count.starts_with('0'))
    };
    while !has_omitted(&log(&server)) {
        assert!(began.elapsed() < PATIENCE, "{}", log(&server));
        assert_eq!(ask(&server, "POST /v1/operations", &key, new), 429);
    }
    // Refused callers are recorded beside them.
    assert_eq!(ask(&server, "POST /v1/operations", "lr_none", new), 401);
    let log = log_with(&server, "UNAUTHENTICATED", 1);
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused: Vec<Value> = lines.filter(|line| line["reason"] == "RESOURCE_EXHAUSTED").collect();
    for record in &refused {
        let about = ["target", "action", "tenant", "subject"].map(|name| record[name].as_str());
        let expected = ["longrun::audit", "refused", "default", "bootstrap"].map(Some);
        assert_eq!(about, expected, "{record}");
        assert!(record["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    }
    let of = |call: &str| refused.iter().filter(|record| record["call"] == call).count();
    assert!(of("/v1/operations") > 0 && of("/longrun.v1.Operations/Submit") > 0, "{log}");
    assert!(!log.contains(&key[20..]), "no key is logged");
}

#[test]
fn a_server_that_every_caller_may_use_says_so_where_others_reach_it() {
    let directory = tempfile::tempdir().unwrap();
    let start = |address: &str| {
        let name = address.replace(':', "-");
        serve(&directory.path().join(name), |command| {
            command.args(["--listen", address, "--insecure"]);
        })
    };
    let said = "every caller that can connect to";
    let open = start("0.0.0.0:0");
    let log_of_open = log_with(&open, said, 1);
    assert!(log_of_open.contains("WARN") && log_of_open.contains("--listen 0.0.0.0:0"));
    assert_eq!(log_of_open.matches(said).count(), 1, "{log_of_open}");
    let local = start("127.0.0.1:0");
    // Its listener is said after it.
    let log_of_local = log_with(&local, "INFO", 1);
    assert!(!log_of_local.contains(said), "{log_of_local}");
}

#[test]
fn a_store_whose_keys_were_made_under_another_secret_is_warned_of_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    private_file(&at("one"), &"1".repeat(32));
    private_file(&at("other"), &"2".repeat(32));
    let start = |secret: &str| {
        serve(&at("test.db"), |command| {
            command.args(["--listen", "127.0.0.1:0", "--auth", "required"]);
            command.arg("--secret-file").arg(at(secret));
            command.arg("--bootstrap-key-file").arg(at("first.key"));
        })
    };
    let said = "does not fit it";
    let server = start("one");
    let key = std::fs::read_to_string(at("first.key")).unwrap().trim().to_owned();
    assert_eq!(ask(&server, "GET /v1/operations", &key, ""), 200);
    assert!(!log(&server).contains(said));
    drop(server);
    let server = start("other");
    for _ in 0..3 {
        assert_eq!(ask(&server, "GET /v1/operations", &key, ""), 401);
    }
    // Written after whatever else these calls have logged.
    let log = log_with(&server, "there is no such API key", 3);
    assert_eq!(log.matches(said).count(), 1, "{log}");
    assert!(log.contains("--secret-file") && !log.contains(&key[20..]), "{log}");
}

#[test]
fn each_change_of_an_issuers_keys_is_logged_once() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.json");
    // The example of RFC 7517, appendix A.1.
    let good = "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"kid\": \"1\", \
                \"x\": \"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\", \
                \"y\": \"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}";
    std::fs::write(&keys, good).unwrap();
    let server = serve(&directory.path().join("test.db"), |command| {
        command.args(["--listen", "127.0.0.1:0", "--jwt-issuer", "i", "--jwt-audience", "a"]);
        command.arg("--jwt-keys").arg(&keys);
    });
    // A token with an unknown key has the keys read again, and waits for that.
    let [header, claims] =
        ["{\"alg\":\"ES256\",\"kid\":\"2\"}", "{}"].map(|it| URL_SAFE_NO_PAD.encode(it));
    let token = format!("{header}.{claims}.AAAA");
    let read = || assert_eq!(ask(&server, "GET /v1/operations", &token, ""), 401);
    let (failed, well) = ("cannot read the token keys again", "the token keys can be read again");
    std::fs::write(&keys, "no set").unwrap();
    read();
    log_with(&server, failed, 1);
    read();
    std::fs::remove_file(&keys).unwrap();
    read();
    log_with(&server, failed, 2);
    std::fs::write(&keys, good).unwrap();
    read();
    let log = log_with(&server, well, 1);
    assert_eq!((log.matches(failed).count(), log.matches(well).count()), (2, 1), "{log}");
}

#[test]
fn a_flag_wins_over_a_variable_that_excludes_it_and_an_empty_one_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first.key");
    let server = serve(&directory.path().join("test.db"), |command| {
        command.args(["--listen", "127.0.0.1:0", "--bootstrap-key-file"]).arg(&first);
        command.env("LONGRUN_PRIVATE_OPERATIONS", "").env("LONGRUN_METRICS_LISTEN", "");
    });
    let file = first.to_str().unwrap();
    let key = std::fs::read_to_string(&first).unwrap().trim().to_owned();
    let list = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = server.command(&[&["list"], flags].concat());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    let (token, token_file) = ("LONGRUN_TOKEN", "LONGRUN_TOKEN_FILE");
    for (flags, variables) in [
        (&["--token-file", file][..], &[(token, "")][..]),
        (&["--token-file", file], &[(token, "lr_other")]),
        (&["--token", &key], &[(token_file, "/none")]),
        (&["--token", &key], &[(token_file, "/none"), (token, "lr_other")]),
        (&[], &[(token_file, file), (token, "")]),
        (&[], &[(token_file, ""), (token, &key)]),
    ] {
        assert_eq!(
            list(flags, variables),
            (Some(0), String::from("no operations\n")),
            "{flags:?} {variables:?}"
        );
    }
    for (flags, variables) in [
        (&["--token-file", file, "--token", &key][..], &[][..]),
        (&["--token-file", file, "--token", &key], &[(token, "lr_other")]),
        (&[], &[(token_file, file), (token, &key)]),
    ] {
        let (code, said) = list(flags, variables);
        assert!(code == Some(2) && said.contains("cannot be used with"), "{flags:?}: {said}");
    }
    // A server that cannot be named, so that the worker ends.
    let args = ["worker", "k", "--url", "http://127.0.0.1:9/", "--server", "ftp://none"];
    let output = longrun(&args).env("LONGRUN_RETRY_ON", "all").output().unwrap();
    assert!(stderr(&output).contains("--server ftp://none"), "{}", stderr(&output));
    // The file of a worker is the last.
    let config = directory.path().join("worker.toml");
    std::fs::write(&config, format!("token_file = {file:?}\n")).unwrap();
    let mut check = longrun(&["config", "check", "--worker"]);
    let output = check.arg(&config).env(token, &key).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
