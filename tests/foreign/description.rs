//! The OpenAPI document that the server serves is true: by what schemathesis makes of it, and by the lives of some
//! operations.

use tokio::process::Command;

use crate::support::{Server, folder, interpreter, python, succeed};

fn server() -> Server {
    Server::start(&[
        "--max-payload-bytes",
        "1MiB",
        // Streams end soon enough to be read to their ends.
        "--max-stream-age",
        "1s",
        "--handler",
        "shout=tr a-z A-Z",
        "--handler",
        "nothing=true",
        "--handler",
        "stuck=sleep 600",
        "--handler",
        "fail=echo no >&2; exit 3",
    ])
}

#[tokio::test]
async fn answers_are_those_that_the_document_lists() {
    let answers = python("description/answers.py", &[&server().url]).await;
    assert!(answers.as_u64().unwrap() > 100, "{answers}");
}

/// Two tests, because each stream takes a second.
const STREAM: &str = "/v1/operations/events";

#[tokio::test]
async fn schemathesis_finds_no_violation() {
    schemathesis(&["--exclude-path", STREAM]).await;
}

#[tokio::test]
async fn schemathesis_finds_no_violation_in_streams() {
    schemathesis(&["--include-path", STREAM]).await;
}

/// The same cases each time. `LONGRUN_SCHEMATHESIS_EXAMPLES` makes them more, `LONGRUN_SCHEMATHESIS_SEED` others.
async fn schemathesis(filter: &[&str]) {
    let server = server();
    let setting = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let mut command = Command::new(interpreter());
    let folder = folder().join("description");
    command.args(["-m", "schemathesis.cli", "--config-file"]).arg(folder.join("schemathesis.toml"));
    command.arg("run").arg(format!("{}/openapi.json", server.url)).args(filter);
    command.args(["--max-examples", &setting("LONGRUN_SCHEMATHESIS_EXAMPLES", "5")]);
    command.args(["--seed", &setting("LONGRUN_SCHEMATHESIS_SEED", "1")]);
    command.args(["--generation-database", "none", "--request-timeout", "20", "--no-color"]);
    command.env("LONGRUN_URL", &server.url).env("SCHEMATHESIS_HOOKS", "hooks");
    command.env("PYTHONPATH", folder).current_dir(server.directory());
    let printed = succeed(command).await;
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.contains(" passed"), "{printed}");
    println!("{printed}");
}
