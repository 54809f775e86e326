//! What must not get through: paths out of the mount, hosts of the client's choice, messages with two readings.

use crate::pass_through::raw;
use crate::support::Setup;

#[tokio::test]
async fn no_path_leaves_the_mount() {
    let mut setup = Setup::new("").await;
    for path in [
        "/api/../admin",
        "/api/%2e%2e/admin",
        "/api/a/%2E./%2e%2e/x",
        "/api//evil.example/x",
        "/api/%2f%2fevil.example",
        "/api/..;/admin",
        "/api/a%5c..%5cb",
        "/api/%252e%252e/x",
        "/api/%c0%ae%c0%ae/x",
        "/api/..%20/x",
        "/api/%u002e%u002e/x",
        "/api/%ef%bc%8e%ef%bc%8e/x",
    ] {
        for prefer in ["", "Prefer: respond-async\r\n"] {
            let answer = raw(
                &setup,
                &format!(
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\n{prefer}Connection: close\r\n\r\n"
                ),
            )
            .await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        }
    }
    // An absolute target that names this server is one of its own.
    let answer = raw(
        &setup,
        "GET http://localhost/api/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(setup.asked().await.target, "/base/echo");
}

#[tokio::test]
async fn a_message_with_two_readings_reaches_nobody() {
    let mut setup = Setup::new("").await;
    let hidden = "GET /base/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for framing in [
        "Content-Length: 4\r\nContent-Length: 40\r\n",
        "Transfer-Encoding: gzip, x\r\n",
        "Content-Length: +4\r\n",
        "X-A: b\0c\r\n",
        "X A: b\r\n",
    ] {
        let text = format!(
            "POST /api/echo HTTP/1.1\r\nHost: localhost\r\n{framing}Connection: close\r\n\r\n{hidden}"
        );
        let answer = raw(&setup, &text).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{framing}: {answer}");
    }
    // With both the chunks count, and the length does not travel on.
    let both = "POST /api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\
                Connection: close, content-length\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let answer = raw(&setup, both).await;
    if answer.starts_with("HTTP/1.1 200 ") {
        let asked = setup.asked().await;
        assert_eq!((&asked.body[..], asked.target.as_str()), (&b"body"[..], "/base/echo"));
    }
    assert!(setup.asked.try_recv().is_err(), "nothing else arrived");
}

#[test]
fn a_bad_file_is_refused_at_start_with_file_line_and_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("longrun.toml");
    let text = "[[relay]]\nname = \"a\"\nprefix = \"/v1\"\nupstream = \"http://h\"\n";
    std::fs::write(&file, text).expect("a file");
    for path in [file.clone(), directory.path().join("missing.toml")] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--config"];
        let program = env!("CARGO_BIN_EXE_longrun");
        let ended = std::process::Command::new(program).args(serve).arg(&path).output();
        let ended = ended.expect("a program");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(&path.display().to_string()), "{said}");
        let why = if path == file {
            "line 3, column 10: prefix must not be /v1"
        } else {
            "cannot be read"
        };
        assert!(said.contains(why), "{said}");
    }
}
