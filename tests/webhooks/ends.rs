//! Ends that come close together: of operations that are deleted at once, and of servers that are sending.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::postgres_support::database;
use crate::support::{Answer, Receiver, Server};

/// Deletes ask again and again, so that some are decided together with the end that they wait for.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_of_although_the_delete_comes_with_it() {
    const COUNT: usize = 150;
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &["--handler", "shout=true"]).await;
    let mut receiver = Receiver::accepting().await;
    let (mut names, mut deletes) = (BTreeSet::new(), JoinSet::new());
    for _ in 0..COUNT {
        let name = server.submit("shout", &receiver.url).await.name;
        let client = server.client.clone().with_retries(0);
        names.insert(name.clone());
        deletes.spawn(async move { while client.delete(&name).await.is_err() {} });
    }
    while let Some(deleted) = deletes.join_next().await {
        deleted.unwrap();
    }
    let told = |got: &[crate::support::Got]| -> BTreeSet<String> {
        got.iter().map(|it| it.told().0).collect()
    };
    let got = receiver.until(|got| told(got).len() >= COUNT).await;
    assert_eq!(told(&got), names);
}

/// A stop waits for no receiver.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_sending_stops_at_once() {
    let database = database().await;
    let store = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", store.path().join("longrun.db").display());
    let args =
        ["--webhook-allow", "127.0.0.0/8", "--webhook-timeout", "60s", "--handler", "shout=true"];
    for url in [&file, &database.url] {
        let mut silent = Receiver::new(|_, _| Answer::Silence).await;
        let server = Server::over(url, &args).await;
        server.submit("shout", &silent.url).await;
        silent.until(|got| got.len() == 1).await;
        let (took, is_well) = server.stop();
        assert!(is_well, "{url}");
        assert!(took < Duration::from_secs(3), "{url}: {took:?}");
        // What was under way is sent again.
        let server = Server::over(url, &args).await;
        silent.until(|got| got.len() == 2).await;
        let got = silent.got();
        assert_eq!(got[0].id(), got[1].id());
        server.kill();
    }
}
