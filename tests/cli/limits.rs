//! `longrun limits`: set while the server runs, over those of its configuration file, and kept across a restart.

use std::fs;

use rustix::process::Signal;

use crate::support::{Server, exit_code, longrun, signal};

const CONFIG: &str = "[[limit]]\npayload_bytes = 1000\noutstanding = 50\n";

#[test]
fn limits_are_set_over_configured_ones_and_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("longrun.toml");
    fs::write(&config, CONFIG).unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let start = || {
        let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        command.arg("--config").arg(&config);
        Server::spawned(command, tempfile::tempdir().unwrap())
    };
    let mut server = start();
    let listed = server.json(&["limits", "list"]);
    assert_eq!(listed["limits"][1]["what"], "payload-bytes", "{listed}");
    assert_eq!(listed["limits"][1]["configuredMost"], "1000");

    server.expect(0, &["submit", "k", "0123456789"]);
    let said = server.expect(0, &["limits", "set", "payload_bytes", "9B"]);
    assert_eq!(said.trim(), "payload-bytes of each tenant is 9");
    server.expect(1, &["submit", "k", "0123456789"]);
    let one = ["--tenant", "acme", "--kind", "video", "--label", "customer"];
    let said = server.expect(0, &[&["limits", "set", "running", "1"][..], &one].concat());
    assert_eq!(said.trim(), "running of acme, kind video, for each customer is 1");
    server.expect(0, &["limits", "set", "retention-seconds", "7d", "--tenant", "acme"]);
    let table = server.expect(0, &["limits", "list", "--tenant", "acme"]);
    for part in ["customer", "604800", "acme", "CONFIGURED", "1000"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let other = server.expect(0, &["limits", "list", "--tenant", "other"]);
    assert!(!other.contains("customer"), "{other}");

    signal(&server.process, Signal::TERM);
    assert_eq!(exit_code(&mut server.process), Some(0));
    let server = start();
    server.expect(1, &["submit", "k", "0123456789"]);
    let said = server.expect(0, &["limits", "unset", "payload-bytes"]);
    assert_eq!(said.trim(), "payload-bytes of each tenant is 1000, as configured");
    server.expect(0, &["submit", "k", "0123456789"]);
    let said = server.expect(0, &[&["limits", "unset", "running"][..], &one].concat());
    assert!(said.trim().ends_with("no longer has a limit"), "{said}");

    server.expect(1, &["limits", "unset", "payload-bytes"]);
    server.expect(1, &["limits", "set", "outstandin", "1"]);
    server.expect(1, &["limits", "set", "watches", "1", "--kind", "k"]);
    server.expect(1, &["limits", "set", "weight", "0", "--tenant", "acme"]);
    server.expect(2, &["limits", "set", "outstanding", "many"]);
    let log = fs::read_to_string(server.directory.path().join("log")).unwrap();
    assert!(log.contains("delete-limit") && log.contains("payload-bytes/-/-/-"), "{log}");
}
