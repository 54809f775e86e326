//! Certificates that are replaced while the server runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::{Authority, PATIENCE, Stage, issue, said, work, write};

/// What the server shows, as openssl has it.
async fn subject(stage: &Stage) -> String {
    let answer = said(&stage.s_client(stage.tls, &[]).await);
    let subject = answer.lines().find(|line| line.starts_with("subject="));
    subject.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn until_subject_is(stage: &Stage, name: &str) {
    let looking = async { while !subject(stage).await.ends_with(name) {} };
    tokio::time::timeout(PATIENCE, looking).await.expect("the certificate is not read again");
}

#[tokio::test]
async fn certificates_are_replaced_under_load_without_a_failed_call() {
    let stage = Stage::new().await;
    let (is_over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (builder, is_over, calls) = (stage.builder(), is_over.clone(), calls.clone());
        load.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                // A connection for each call, and no second try.
                let client = builder.clone().connect().await.unwrap().with_retries(0);
                client.submit(work()).await.unwrap();
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for name in ["second", "third"] {
        let (certificate, key) = stage.authority.signed(name, 2040);
        // The key is behind for a moment, as when a file is copied after the other.
        write(stage.directory.path(), "server.pem", &certificate);
        write(stage.directory.path(), "server.key", &key);
        until_subject_is(&stage, name).await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.expect("a call failed");
    }
    assert!(calls.load(Ordering::Relaxed) > 0);
    stage.ends().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_certificate_as_it_was() {
    let stage = Stage::new().await;
    let [certificate, key] =
        ["server.pem", "server.key"].map(|name| std::fs::read_to_string(stage.path(name)).unwrap());
    assert_eq!(stage.certificates.reload().await, Ok(false));
    let foreign_key = stage.authority.signed("x", 2040).1;
    for (file, text, why) in [
        ("server.pem", "", "--tls-cert"),
        ("server.pem", &certificate[..certificate.len() / 2], "--tls-cert"),
        ("server.key", "no key", "has no private key"),
        ("server.key", &foreign_key, "does not fit --tls-cert"),
    ] {
        write(stage.directory.path(), file, text);
        let error = stage.certificates.reload().await.unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(file), "{error}");
        assert!(subject(&stage).await.ends_with("server"));
        write(stage.directory.path(), "server.pem", &certificate);
        write(stage.directory.path(), "server.key", &key);
    }
    std::fs::remove_file(stage.path("server.key")).unwrap();
    let error = stage.certificates.reload().await.unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    issue(&stage.authority, stage.directory.path(), "last", 2041);
    std::fs::rename(stage.path("last.pem"), stage.path("server.pem")).unwrap();
    std::fs::rename(stage.path("last.key"), stage.path("server.key")).unwrap();
    // The server looks by itself as well, and may have been there first.
    stage.certificates.reload().await.unwrap();
    assert!(subject(&stage).await.ends_with("last"));
    stage.ends().await;
}

#[tokio::test]
async fn an_authority_that_is_replaced_lets_nobody_in_any_more() {
    let (stage, clients) = Stage::asking(|_, _| {}).await;
    let first = stage.issue(&clients, "client");
    let builder = stage.builder().identity(&first.certificate, &first.key);
    let client = builder.clone().connect_lazy().unwrap().with_retries(0);
    client.submit(work()).await.unwrap();
    let others = Authority::new("others");
    write(stage.directory.path(), "clients.pem", &others.pem());
    stage.certificates.reload().await.unwrap();
    // The connection of before goes on; a new one is refused.
    client.submit(work()).await.unwrap();
    let late = builder.connect_lazy().unwrap().with_retries(0);
    late.submit(work()).await.unwrap_err();
    // Once its files have a certificate of the new authority, the same client gets in.
    stage.issue(&others, "client");
    late.submit(work()).await.unwrap();
    stage.ends().await;
}
