//! A socket in the file system.

use std::fs::{metadata, symlink_metadata};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use longrun::client::Client;
use longrun::config::{ServeConfig, StoreUrl};
use longrun::server::Server;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::support::{output, said, work, write};

fn config(directory: &TempDir, store: &str) -> ServeConfig {
    let mut config = ServeConfig::default();
    config.listen.no_plain = true;
    config.listen.unix = Some(directory.path().join("socket"));
    config.store.url = StoreUrl::Sqlite(directory.path().join(store));
    config
}

#[tokio::test]
async fn a_socket_is_served_to_its_user_and_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    // What a server that was killed leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::bind(config(&directory, "a.db")).await.unwrap();
    assert_eq!(server.urls(), [format!("unix:{}", path.display())]);
    assert_eq!(metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));

    let client = Client::connect(&format!("unix:{}", path.display())).await.unwrap();
    let submitted = client.submit(work()).await.unwrap();
    let mut command = Command::new("curl");
    command.args(["-sS", "--unix-socket"]).arg(&path);
    command.arg(format!("http://localhost/v1/{}", submitted.name));
    let answer = said(&output(command).await);
    assert!(answer.contains(&submitted.name), "{answer}");

    let refused = Server::bind(config(&directory, "b.db")).await.err().unwrap();
    assert!(format!("{refused:#}").contains("another server listens there"), "{refused:#}");
    assert!(symlink_metadata(&path).unwrap().file_type().is_socket());

    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "socket", "precious");
    let refused = Server::bind(config(&directory, "a.db")).await.err().unwrap();
    assert!(format!("{refused:#}").contains("is not a socket"), "{refused:#}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
}
