//! Callbacks of submissions.

use longrun::proto::v1::{Batch, Operation, SubmitRequest};

use crate::support::{Answer, Receiver, Server, verify};

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_at_submission_is_told_of_the_end_by_a_signed_request() {
    let store = tempfile::tempdir().unwrap();
    let server =
        Server::start(store.path(), &["--handler", "shout=cat", "--handler", "no=false"]).await;
    let mut receiver = Receiver::accepting().await;
    let url = format!("{}/hook?token=t", receiver.url);
    let good = server.submit("shout", &url).await;
    let bad = server.submit("no", &url).await;
    let got = receiver.until(|got| got.len() == 2).await;
    let mut told: Vec<_> = got.iter().map(|it| it.told()).collect();
    told.sort();
    let mut expected = [
        (good.name.clone(), "operation.succeeded".to_owned()),
        (bad.name.clone(), "operation.failed".to_owned()),
    ];
    expected.sort();
    assert_eq!(told, expected);
    let secret = server.client.webhook_secret("", "callbacks").await.unwrap().secret;
    for said in verify(&secret, &got).unwrap() {
        let data = &said["data"];
        assert_eq!(data["done"], true, "{said}");
        assert!(said["timestamp"].as_str().is_some(), "{said}");
        assert!(data.get("callbackUrl").is_none(), "{said}");
    }
    assert!(verify("whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=", &got).is_err());
    let found = server.until("DELIVERED", |found| found.len() == 2).await;
    for delivery in &found {
        assert_eq!((delivery.attempts, delivery.last_status), (1, 204), "{delivery:?}");
        assert!(got.iter().any(|it| it.id() == delivery.delivery_id));
    }
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_deleted_at_once_is_told_of_all_the_same() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &["--handler", "shout=cat"]).await;
    let mut receiver = Receiver::accepting().await;
    let mut names = Vec::new();
    for _ in 0..30 {
        let operation = server.submit("shout", &receiver.url).await;
        server.client.wait_on(&operation, None).await.unwrap();
        server.client.delete(&operation.name).await.unwrap();
        names.push(operation.name);
    }
    let got = receiver.until(|got| got.len() >= 30).await;
    let mut told: Vec<String> = got.into_iter().map(|it| it.told().0).collect();
    told.sort();
    names.sort();
    assert_eq!(told, names);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_batch_is_told_and_that_of_the_children_that_ask_for_it() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &["--handler", "shout=cat"]).await;
    let mut receiver = Receiver::accepting().await;
    let of_batch = format!("{}/batch", receiver.url);
    let of_child = format!("{}/child", receiver.url);
    let request = |callback_url: &str| SubmitRequest {
        kind: "shout".to_owned(),
        callback_url: callback_url.to_owned(),
        ..SubmitRequest::default()
    };
    let batch = Batch { callback_url: of_batch, ..Batch::default() };
    let children = vec![request(&of_child), request("")];
    let stored = server.client.submit_children(batch, children).await.unwrap();
    let children: Vec<Operation> = stored.1.into_iter().map(Result::unwrap).collect();
    let got = receiver.until(|got| got.len() == 2).await;
    let mut told: Vec<_> = got.iter().map(|it| it.told()).collect();
    told.sort();
    let succeeded = "operation.succeeded".to_owned();
    let mut expected =
        [(stored.0.name.clone(), succeeded.clone()), (children[0].name.clone(), succeeded)];
    expected.sort();
    assert_eq!(told, expected);
    server.until("DELIVERED", |found| found.len() == 2).await;
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_does_not_send_nobody_can_have_it_sent() {
    let store = tempfile::tempdir().unwrap();
    let args = ["--handler", "shout=cat", "--webhook-retry-for", "1s"];
    let server = Server::strict(store.path(), &args).await;
    let receiver = Receiver::accepting().await;
    let port = receiver.url.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}/");
        let (is_done, said) = server.cli(&["submit", "shout", "--callback-url", &url]);
        assert!(!is_done && said.contains("callback_url"), "{url}: {said}");
    }
    // Where a name leads is known when it is sent.
    for host in ["localhost", "0x7f.1", "2130706433"] {
        server.submit("shout", &format!("http://{host}:{port}/")).await;
    }
    let dead = server.until("DEAD", |found| found.len() == 3).await;
    for delivery in dead {
        assert!(delivery.last_error.contains("no address"), "{delivery:?}");
    }
    assert!(receiver.got().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_a_dead_letter_is_sent_again() {
    let store = tempfile::tempdir().unwrap();
    let args = ["--handler", "shout=cat", "--webhook-retry-for", "0s"];
    let server = Server::start(store.path(), &args).await;
    let elsewhere = Receiver::accepting().await;
    let to = elsewhere.url.clone();
    let mut receiver = Receiver::new(move |number, _| match number {
        1 => Answer::Redirect(to.clone()),
        _ => Answer::Status(200),
    })
    .await;
    server.submit("shout", &receiver.url).await;
    let dead = server.until("DEAD", |found| found.len() == 1).await.remove(0);
    assert!(dead.last_error.contains("redirects are not followed"), "{dead:?}");
    let (is_done, said) = server.cli(&["webhook", "redeliver", &dead.delivery_id]);
    assert!(is_done, "{said}");
    let got = receiver.until(|got| got.len() == 2).await;
    assert_eq!((got[0].id(), got[0].body.as_str()), (got[1].id(), got[1].body.as_str()));
    let found = server.until("DELIVERED", |found| found.len() == 1).await;
    assert_eq!((found[0].attempts, found[0].last_error.as_str()), (2, ""));
    assert!(elsewhere.got().is_empty());
}
