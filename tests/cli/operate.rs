//! What operators use: `doctor`, `top`, man pages, word to systemd, and the files of `deploy/`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Server, exit_code, longrun, run, signal, stderr, stdout};

fn checks(document: &str) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(document).unwrap();
    let checks = document["checks"].as_array().unwrap().iter();
    let word = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    checks.map(|it| (word(it, "check"), word(it, "result"))).collect()
}

#[test]
fn a_doctor_looks_at_a_deployment() {
    let server = Server::start(&[]);
    let store = format!("sqlite:{}", server.directory.path().join("test.db").display());
    let said = server.expect(0, &["doctor", "--check-store", &store, "--json"]);
    let found = checks(&said);
    let names: Vec<&str> = found.iter().map(|(check, _)| check.as_str()).collect();
    assert_eq!(names, ["ready", "access", "clock", "watch", "tls", "system", "store"]);
    for (check, result) in &found {
        // This machine may let processes have few files, or be nearly full.
        let is_machines = matches!(check.as_str(), "system" | "store") && result == "warning";
        assert!(result == "ok" || is_machines, "{said}");
    }
    let said = server.expect(0, &["doctor", "--only", "ready", "--only", "watch"]);
    assert!(said.contains("takes new work") && said.contains("of silence"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn a_doctor_says_what_is_wrong_and_what_to_change() {
    let output = run(&["doctor", "--server", "http://127.0.0.1:1", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = checks(&stdout(&output));
    assert_eq!(found[0], ("ready".to_owned(), "failed".to_owned()));
    assert!(found.contains(&("watch".to_owned(), "skipped".to_owned())), "{found:?}");
    let output = run(&["doctor", "--only", "store", "--check-store", "sqlite:/nowhere/at/all.db"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("make the folder"), "{output:?}");
    let output = run(&["doctor", "--only", "tls", "--server", "http://192.0.2.1:7420"]);
    assert_eq!(output.status.code(), Some(0), "a warning is no failure");
    assert!(
        stdout(&output).starts_with("warning  tls") && stdout(&output).contains("--tls-listen")
    );
}

#[test]
fn a_doctor_says_of_tls_only_what_it_has_seen() {
    let server = Server::start(&[]);
    let url = server.url.replace("http://", "https://");
    let output = run(&["doctor", "--server", &url, "--json"]);
    let found = checks(&stdout(&output));
    assert!(found.contains(&("tls".to_owned(), "skipped".to_owned())), "{found:?}");
    let output = run(&["doctor", "--server", &url, "--only", "tls"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("--tls-listen"), "{output:?}");
    let output = run(&["doctor", "--server", "jobs.example.com:7420", "--only", "tls"]);
    assert!(stdout(&output).starts_with("warning  tls"), "{output:?}");
}

/// A proxy that closes connections on which nothing comes from `server` for so long. Returns its URL.
fn impatient_proxy(server: &str, patience: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(upstream)) = (client, TcpStream::connect(&server)) else { return };
            upstream.set_read_timeout(Some(patience)).unwrap();
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), upstream.try_clone().unwrap()), (upstream, client)]
            {
                std::thread::spawn(move || {
                    let _ignored = std::io::copy(&mut from, &mut to);
                    let _ignored = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    url
}

#[test]
fn a_doctor_knows_a_proxy_that_closes_silent_streams() {
    let server = Server::start(&[]);
    let url = impatient_proxy(&server.url, Duration::from_secs(1));
    let output = run(&["doctor", "--server", &url, "--only", "watch"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stdout(&output);
    assert!(said.contains("without a message") && said.contains("--heartbeat-interval"), "{said}");
}

#[test]
fn a_log_of_json_says_in_json_why_a_server_did_not_start() {
    let args = ["serve", "--store", "sqlite:/nowhere/at/all.db", "--log-format", "json"];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let log = stderr(&output);
    let read = |line| serde_json::from_str::<Value>(line).expect("a line of JSON");
    let lines: Vec<Value> = log.lines().map(read).collect();
    let last = lines.last().expect("a line");
    assert_eq!(
        (&last["level"], &last["message"]),
        (&"ERROR".into(), &"failed to start the server".into())
    );
    assert!(last["error"].as_str().unwrap().contains("/nowhere/at/all.db"), "{last}");
}

#[test]
fn a_doctor_without_credentials_blames_no_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let flags = ["--listen", "127.0.0.1:0", "--auth", "required", "--store", &store];
    let mut command = longrun(&["serve"]);
    command.args(flags).arg("--bootstrap-key-file").arg(directory.path().join("key"));
    let server = Server::spawned(command, directory);
    let said = server.expect(1, &["doctor", "--only", "access", "--only", "watch", "--json"]);
    let word = str::to_owned;
    let expected = [(word("access"), word("failed")), (word("watch"), word("skipped"))];
    assert_eq!(checks(&said), expected, "{said}");
    let said = server.expect(1, &["doctor", "--only", "watch"]);
    assert!(said.contains("give valid credentials") && !said.contains("proxy"), "{said}");
    let said = server.expect(1, &["doctor", "--only", "access", "--token", "mistaken"]);
    assert!(said.contains("not one of this server"), "{said}");
}

#[test]
fn a_command_goes_on_with_the_trace_of_its_submitter() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let server =
        Server::start(&["show=printenv TRACEPARENT TRACESTATE", "none=printenv TRACEPARENT"]);
    let mut socket = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    write!(
        socket,
        "POST /v1/kinds/show/operations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nPrefer: wait=20\r\n\
         traceparent: {PARENT}\r\ntracestate: a=b\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let listed = server.json(&["list", "--all"]);
    let listed = listed["operations"][0].clone();
    let name = listed["name"].as_str().unwrap_or_else(|| panic!("{answer} {listed}"));
    assert_eq!(listed["traceParent"], PARENT, "{listed}");
    let result = server.expect(0, &["result", name]);
    assert_eq!(result, format!("{PARENT}\na=b\n"));
    // There is no such variable without a trace, whatever the server itself has.
    server.expect(3, &["submit", "none", "--wait"]);
}

#[test]
fn top_shows_kinds_and_workers_again_and_again() {
    let server = Server::start(&["shout=cat"]);
    server.submit(&["lonely"]);
    server.expect(0, &["submit", "shout", "hello", "--wait"]);
    let said = server.expect(0, &["top", "--frames", "2", "--interval", "100ms"]);
    assert_eq!(said.matches("1 queued, 0 running, 1 worker;").count(), 2, "{said}");
    assert_eq!(said.matches("KIND ").count(), 2, "{said}");
    // What has most to do stands first.
    let line = |kind: &str| said.lines().position(|it| it.starts_with(kind));
    assert!(line("lonely") < line("shout"), "{said}");
    let said = server.expect(0, &["top", "--frames", "1", "--json"]);
    let look: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(look["kinds"][0]["kind"], "lonely");
    assert_eq!(look["kinds"][1]["submittedLastMinute"], "1");
    assert!(look["kinds"][1]["attemptDurations"]["p95"].is_string(), "{look}");
    assert_eq!(look["workers"].as_array().unwrap().len(), 1);
}

#[test]
fn every_command_has_a_man_page() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("man");
    let output = run(&["man", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for page in ["longrun.1", "longrun-serve.1", "longrun-store-backup.1", "longrun-doctor.1"] {
        let page = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(page.contains(".TH longrun") && page.contains("Examples:"), "{page}");
    }
    let output = run(&["man", "/dev/null/man"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/dev/null/man"), "{output:?}");
}

#[test]
fn systemd_is_told_how_the_server_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = || {
        let mut word = [0; 512];
        let length = socket.recv(&mut word).unwrap();
        String::from_utf8(word[..length].to_vec()).unwrap()
    };
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    command.env("NOTIFY_SOCKET", &path);
    let mut server = Server::spawned(command, directory);
    assert_eq!(hear().trim(), "READY=1");
    signal(&server.process, Signal::HUP);
    let reloading = hear();
    assert!(reloading.contains("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(hear().trim(), "READY=1");
    signal(&server.process, Signal::TERM);
    assert_eq!(hear().trim(), "STOPPING=1");
    assert_eq!(exit_code(&mut server.process), Some(0));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deployed(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

/// What a tool says of a file; `None`, in words, where there is no such tool.
fn judged(tool: &str, args: &[&str]) -> Option<Output> {
    let output = Command::new(tool).args(args).output();
    if output.is_err() {
        eprintln!("{tool} is not installed: `{tool} {}` was not run", args.join(" "));
    }
    output.ok()
}

#[test]
fn the_systemd_unit_is_sound() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("longrun.service");
    let text = deployed("longrun.service");
    // The program and its page are where the package puts them.
    let here = text.replace("/usr/bin/longrun", env!("CARGO_BIN_EXE_longrun"));
    std::fs::write(&unit, here.replace("Documentation=man:longrun-serve(1)\n", "")).unwrap();
    let Some(output) = judged("systemd-analyze", &["verify", unit.to_str().unwrap()]) else {
        return;
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn the_configuration_of_nginx_is_sound() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nginx.conf");
    // The name is compose's.
    let text = deployed("nginx.conf").replace("server longrun:7420", "server 127.0.0.1:7420");
    std::fs::write(&file, format!("pid {}/pid;\n{text}", directory.path().display())).unwrap();
    let nginx = ["nginx", "/usr/sbin/nginx"]
        .into_iter()
        .find(|it| Command::new(it).arg("-v").output().is_ok());
    let args = ["-t", "-e", "stderr", "-c", file.to_str().unwrap()];
    let Some(output) = judged(nginx.unwrap_or("nginx"), &args) else { return };
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn what_is_deployed_can_be_read_and_names_flags_that_there_are() {
    let files: Vec<PathBuf> = ["compose.yaml", "kubernetes.yaml", "alerts.yml"]
        .map(|name| root().join("deploy").join(name))
        .to_vec();
    let python = std::env::var("LONGRUN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let read = "import sys, yaml\nfor name in sys.argv[1:]:\n    assert list(yaml.safe_load_all(open(name)))";
    let mut args = vec!["-c", read];
    args.extend(files.iter().filter_map(|file| file.to_str()));
    let has_yaml = Command::new(&python).args(["-c", "import yaml"]).output();
    if has_yaml.is_ok_and(|output| output.status.success()) {
        let output = judged(&python, &args).unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    } else {
        eprintln!("{python} has no yaml: the YAML files were not read");
    }

    let known = stdout(&run(&["serve", "--help"]));
    let mut texts: Vec<String> =
        ["compose.yaml", "kubernetes.yaml", "longrun.service", "longrun.default"]
            .map(deployed)
            .to_vec();
    texts.push(std::fs::read_to_string(root().join("Dockerfile")).unwrap());
    for text in &texts {
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        let named: Vec<&str> =
            words.filter(|word| word.len() > 8 && word.starts_with("LONGRUN_")).collect();
        assert!(!named.is_empty());
        for name in named {
            assert!(
                known.contains(&format!("{name}=")) || known.contains(&format!("{name}]")),
                "{name}"
            );
        }
    }
}

/// The variables that a deployed file sets, also in a comment, with their values.
fn variables(text: &str) -> Vec<(&str, &str)> {
    let after = |(at, _)| {
        let text: &str = &text[at..];
        let end = text.find(|c: char| !(c.is_ascii_uppercase() || c == '_'))?;
        let (name, rest) = text.split_at(end);
        let rest = rest.strip_prefix(", value").unwrap_or(rest);
        let value = rest.strip_prefix(['=', ':'])?.trim_start_matches([' ', '"']);
        let end = value.find([' ', '"', '\n']).unwrap_or(value.len());
        Some((name, &value[..end]))
    };
    text.match_indices("LONGRUN_")
        .filter_map(after)
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

#[test]
fn what_is_deployed_sets_variables_to_values_that_the_server_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("longrun.toml");
    std::fs::write(&file, "").unwrap();
    let names = ["compose.yaml", "kubernetes.yaml", "longrun.service", "longrun.default"];
    let mut texts: Vec<String> = names.map(deployed).to_vec();
    texts.push(std::fs::read_to_string(root().join("Dockerfile")).unwrap());
    for text in &texts {
        let set = variables(text);
        assert!(!set.is_empty(), "{text}");
        let mut command = longrun(&["config", "check", file.to_str().unwrap()]);
        if text.contains("ENTRYPOINT") {
            // The image leaves the source of credentials to its user.
            command.env("LONGRUN_AUTH", "required");
        }
        let output = command.envs(set.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{set:?}: {}", stderr(&output));
    }
}
