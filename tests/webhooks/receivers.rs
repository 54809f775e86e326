//! Receivers that are slow, dead or come back.

use std::time::{Duration, Instant};

use longrun::proto::v1::{Batch, CreateWebhookRequest, SubmitRequest};

use crate::support::{Answer, Receiver, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_delays_nobody_else() {
    let store = tempfile::tempdir().unwrap();
    let args = ["--handler", "shout=cat", "--webhook-timeout", "60s"];
    let server = Server::start(store.path(), &args).await;
    let mut silent = Receiver::new(|_, _| Answer::Silence).await;
    for _ in 0..40 {
        server.submit("shout", &silent.url).await;
    }
    // So many are asked of one receiver at once.
    silent.until(|got| got.len() == 8).await;
    let mut other = Receiver::accepting().await;
    let asked = Instant::now();
    server.submit("shout", &other.url).await;
    other.until(|got| got.len() == 1).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!(silent.got().len(), 8);
    server.until("PENDING", |found| found.len() == 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_is_told_when_it_is_back() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &["--handler", "shout=cat"]).await;
    let mut receiver = Receiver::accepting().await;
    let url = receiver.url.clone();
    let first = server.submit("shout", &url).await;
    receiver.until(|got| got.len() == 1).await;
    let come_back = receiver.crash().await;
    let second = server.submit("shout", &url).await;
    server.until("PENDING", |found| found.iter().any(|it| it.attempts > 0)).await;
    let mut receiver = come_back().await;
    let got = receiver.until(|got| got.len() == 2).await;
    assert_eq!([got[0].told().0, got[1].told().0], [first.name, second.name]);
    server.until("DELIVERED", |found| found.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_paused_receivers_delay_no_other() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &["--handler", "shout=cat"]).await;
    server.client.pause_webhook("", "callbacks").await.unwrap();
    // More hosts than the server reads at a time.
    let requests = (0..300).map(|at| SubmitRequest {
        kind: "unserved".to_owned(),
        callback_url: format!("http://127.0.0.1:{}/", 20_000 + at),
        ..Default::default()
    });
    let batch =
        server.client.submit_children(Batch::default(), requests.collect()).await.unwrap().0;
    server.client.cancel(&batch.name, "").await.unwrap();
    server.until("PENDING", |found| found.len() == 300).await;
    let mut receiver = Receiver::accepting().await;
    // The batch may end after this.
    let (url, filter) = (receiver.url.clone(), "kind = \"shout\"".to_owned());
    let request = CreateWebhookRequest { url, filter, ..Default::default() };
    server.client.create_webhook(request).await.unwrap();
    let operation = server.submit("shout", "").await;
    let got = receiver.until(|got| got.len() == 1).await;
    assert_eq!(got[0].told().0, operation.name);
    server.until("DELIVERED", |found| found.len() == 1).await;
    let paused = server.deliveries("PENDING").await;
    assert_eq!((paused.len(), paused.iter().map(|it| it.attempts).sum()), (300, 0));
}
