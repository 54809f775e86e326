//! Where callers must have credentials: those for this server go no further, and a mount may do without.

use std::os::unix::fs::PermissionsExt as _;

use longrun::service::keys::KeyText;

use crate::support::{Setup, Upstream};

/// A server with one key of tenant `default`, in front of an API.
async fn setup(more: &str) -> (Setup, String, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, key) = (directory.path().join("keys.toml"), KeyText::generate().expect("a key"));
    let text = format!("[[key]]\nkey = \"{}\"\nroles = [\"submit\", \"read\"]\n", key.text());
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let Upstream { addr, api, asked, running } = Upstream::start().await;
    let upstream = format!("http://{addr}/base");
    let setup = Setup::edited(&upstream, more, asked, api, running, |config| {
        config.callers.key_file = Some(file);
    });
    (setup.await, key.text(), directory)
}

#[tokio::test]
async fn keys_are_for_this_server_alone() {
    let (mut setup, key, _directory) = setup("").await;
    let bearer = format!("Bearer {key}");
    for (method, fields) in [("GET", vec![]), ("POST", vec![("prefer", "respond-async")])] {
        setup.ask(method, "/api/x", &fields, "").await.expect(401);
        let mut theirs = fields.clone();
        theirs.push(("authorization", "Bearer the-apis-own"));
        setup.ask(method, "/api/x", &theirs, "").await.expect(401);
    }
    setup.ask("GET", "/api/x", &[("authorization", &bearer)], "").await.expect(200);
    let asked = setup.asked().await;
    assert_eq!(asked.headers.get("authorization"), None);

    let both =
        [("longrun-authorization", bearer.as_str()), ("authorization", "Bearer the-apis-own")];
    setup.ask("GET", "/api/x", &both, "").await.expect(200);
    let asked = setup.asked().await;
    assert_eq!(asked.headers.get("longrun-authorization"), None);
    assert_eq!(asked.headers["authorization"], "Bearer the-apis-own");

    let fields = [("longrun-authorization", bearer.as_str()), ("prefer", "respond-async")];
    setup.ask("POST", "/api/x", &fields, "").await.expect(202);
    let asked = setup.asked().await;
    assert_eq!(asked.headers.get("longrun-authorization"), None);
}

#[tokio::test]
async fn a_mount_may_act_for_a_tenant() {
    let (mut setup, key, _directory) = setup("tenant = \"default\"\n").await;
    let theirs = ("authorization", "Bearer the-apis-own");
    setup.ask("GET", "/api/x", &[theirs], "").await.expect(200);
    assert_eq!(setup.asked().await.headers["authorization"], "Bearer the-apis-own");
    let accepted = setup.ask("POST", "/api/x", &[theirs, ("prefer", "respond-async")], "").await;
    accepted.expect(202);
    setup.asked().await;
    // Outside the mount there are no such callers.
    setup.ask("GET", "/v1/operations", &[theirs], "").await.expect(401);
    // Credentials for this server that are no good are not passed over.
    // No key has a 1: whatever the last character was, this is another.
    let wrong = format!("{}1", &key[..key.len() - 1]);
    let wrong = format!("Bearer {wrong}");
    for field in ["authorization", "longrun-authorization"] {
        setup.ask("GET", "/api/x", &[(field, wrong.as_str())], "").await.expect(401);
    }
}
