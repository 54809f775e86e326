//! Several replicas over one database: one sends, and another goes on when it dies.

use std::collections::BTreeSet;

use longrun::proto::v1::{CreateWebhookRequest, ListDeliveriesRequest};

use crate::postgres_support::database;
use crate::support::{Got, Receiver, Server, verify};

fn names(got: &[Got]) -> BTreeSet<String> {
    got.iter().map(|it| it.told().0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_replica_that_sends_dies_another_goes_on() {
    let database = database().await;
    let args = ["--webhook-allow", "127.0.0.0/8", "--handler", "shout=cat"];
    let first = Server::over(&database.url, &args).await;
    let second = Server::over(&database.url, &args).await;
    let mut receiver = Receiver::accepting().await;
    let request = CreateWebhookRequest { url: receiver.url.clone(), ..Default::default() };
    let made = first.client.create_webhook(request).await.unwrap();
    let mut submitted = BTreeSet::new();
    // The other replica's commits are told of as well, at once after the subscription was made.
    for number in 0..20 {
        let server = if number % 2 == 0 { &second } else { &first };
        submitted.insert(server.submit("shout", "").await.name);
    }
    receiver.until(|got| names(got) == submitted).await;
    // Whichever it is that sends, one of these is.
    first.kill();
    for _ in 0..10 {
        submitted.insert(second.submit("shout", "").await.name);
    }
    receiver.until(|got| names(got) == submitted).await;
    let third = Server::over(&database.url, &args).await;
    second.kill();
    for _ in 0..10 {
        submitted.insert(third.submit("shout", "").await.name);
    }
    let got = receiver.until(|got| names(got) == submitted).await;
    verify(&made.secret, &got).unwrap();
    let ids: BTreeSet<&str> = got.iter().map(Got::id).collect();
    assert_eq!(ids.len(), submitted.len(), "one id for each end");
    // PostgreSQL itself would refuse to look for such a text.
    let of_none = ListDeliveriesRequest { webhook_id: "a\0b".to_owned(), ..Default::default() };
    assert!(third.client.list_deliveries(of_none).await.unwrap().deliveries.is_empty());
}
