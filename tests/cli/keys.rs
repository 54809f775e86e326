//! `longrun key`, and servers that ask for keys.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Server, longrun, run, stderr, stdout};

#[test]
fn keys_are_made_listed_and_revoked() {
    let server = Server::start(&[]);
    let made = server.json(&["key", "create", "--role", "submit,read", "--name", "billing"]);
    let secret = made["secret"].as_str().unwrap();
    let id = made["key"]["keyId"].as_str().unwrap();
    assert!(secret.starts_with(&format!("lr_{id}_")), "{made}");
    let worker = ["key", "create", "--tenant", "acme", "--role", "work"];
    let worker = server.expect(0, &[&worker[..], &["--kinds", "a,b", "--expires", "30d"]].concat());
    assert_eq!(worker.trim().len(), 80, "the key and nothing else");

    let table = server.expect(0, &["key", "list", "--tenant", "-"]);
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("ID "), "{table}");
    assert_eq!(lines.count(), 2);
    for part in ["billing", "acme", "work of a,b", "expires in 2", "submit,read", "valid"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains(&secret[20..]));
    let own = server.json(&["key", "list"]);
    assert_eq!(own["keys"].as_array().unwrap().len(), 1);

    // By its id, or as a whole.
    for key in [id, worker.trim()] {
        let said = server.expect(0, &["key", "revoke", key]);
        assert!(said.trim().ends_with("is revoked"), "{said}");
    }
    let keys = server.json(&["key", "list", "--tenant", "-"]);
    assert!(!keys["keys"][0]["revokeTime"].is_null());
    server.expect(1, &["key", "revoke", "aaaaaaaaaaaaaaaa"]);
    server.expect(1, &["key", "create", "--role", "king"]);
    server.expect(2, &["key", "create"]);
}

#[test]
fn a_key_for_a_file_needs_no_server() {
    let made = run(&["key", "generate", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&stdout(&made)).unwrap();
    let (key, hash) = (made["key"].as_str().unwrap(), made["hash"].as_str().unwrap());
    assert_eq!(hash.split(':').next(), key.split('_').nth(1));
    assert!(stdout(&run(&["key", "generate"])).starts_with("key  = \"lr_"));
}

#[test]
fn a_server_that_others_reach_says_how_to_be_safe() {
    let store = ["serve", "--store", "sqlite:never.db", "--listen", "0.0.0.0:0"];
    let refused = run(&store);
    assert_eq!(refused.status.code(), Some(2));
    for way in ["--bootstrap-key-file", "--key-file", "--auth required", "--insecure"] {
        assert!(stderr(&refused).contains(way), "{}", stderr(&refused));
    }
}

#[test]
fn files_with_secrets_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    for (flag, contents) in [("--key-file", ""), ("--secret-file", &"x".repeat(40)[..])] {
        let file = directory.path().join("file");
        std::fs::write(&file, contents).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let args = ["serve", "--listen", "127.0.0.1:0", "--store", &store, flag];
        let refused = longrun(&args).arg(&file).output().unwrap();
        assert!(!refused.status.success());
        let said = stderr(&refused);
        assert!(said.contains(flag) && said.contains("chmod 600"), "{said}");
    }
    let file = directory.path().join("short");
    std::fs::write(&file, "short").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", &store, "--secret-file"];
    let refused = longrun(&args).arg(&file).output().unwrap();
    assert!(stderr(&refused).contains("at least 32 bytes"), "{}", stderr(&refused));
}

/// A file once it has this text.
fn written(path: &std::path::Path, text: &str) -> String {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let found = std::fs::read_to_string(path).unwrap();
        if found.contains(text) || std::time::Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn address(server: &Server) -> String {
    server.url.strip_prefix("http://").unwrap().to_owned()
}

/// The response to a request.
fn ask(address: &str, request: &str, fields: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: r-7\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_did_what_and_who_was_refused_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let first = directory.path().join("first.key");
    let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    command.args(["--log", "info,longrun::audit=debug", "--log-format", "json"]);
    command.arg("--bootstrap-key-file").arg(&first);
    let server = Server::spawned(command, directory);
    let operator = std::fs::read_to_string(&first).unwrap().trim().to_owned();
    let address = address(&server);
    let ask = |request: &str, fields: &str, body: &str| ask(&address, request, fields, body);
    let bearer = format!("authorization: Bearer {operator}\r\n");
    assert!(ask("GET /v1/operations", "", "").starts_with("HTTP/1.1 401"));
    let made = ask("POST /v1/keys", &bearer, "{\"roles\": [\"submit\"], \"name\": \"ada\"}");
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let submitted = ask("POST /v1/operations", &bearer, "{\"kind\": \"demo\"}");
    assert!(submitted.starts_with("HTTP/1.1 202"), "{submitted}");

    // The log waits for nobody, and nobody for the log.
    let log = written(&server.directory.path().join("log"), "\"action\":\"submit\"");
    assert!(!log.contains(&operator[20..]), "no key is logged");
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let records: Vec<_> = lines.filter(|line| line["target"] == "longrun::audit").collect();
    let actions: Vec<_> = records.iter().map(|record| record["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["refused", "create-key", "submit"], "{log}");
    for record in &records {
        assert_eq!(record["request.id"], "r-7", "{record}");
        assert!(record["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    }
    assert_eq!(records[0]["reason"], "UNAUTHENTICATED");
    assert_eq!(
        (&records[1]["subject"], &records[1]["tenant"]),
        (&"bootstrap".into(), &"default".into())
    );
}
