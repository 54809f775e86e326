//! The server is killed in the middle: every end is told of, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longrun::proto::v1::{CreateWebhookRequest, OperationView};

use crate::support::{Answer, Receiver, Server, verify};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_again_and_again_tells_of_every_end_and_of_no_other() {
    let store = tempfile::tempdir().unwrap();
    let args = ["--handler", "shout=cat", "--handler", "no=false"];
    let mut server = Server::start(store.path(), &args).await;
    // A receiver that refuses now and then.
    let mut receiver =
        Receiver::new(|number, _| Answer::Status(if number % 7 == 3 { 500 } else { 200 })).await;
    let url = format!("{}/subscribed", receiver.url);
    let format = "cloudevents".to_owned();
    let request = CreateWebhookRequest { url, format, ..Default::default() };
    let made = server.client.create_webhook(request).await.unwrap();
    let mut names = BTreeSet::new();
    let callback = format!("{}/called", receiver.url);
    for round in 0..4 {
        for number in 0..25 {
            let kind = if number % 5 == 0 { "no" } else { "shout" };
            names.insert(server.submit(kind, &callback).await.name);
        }
        // Some of the round is told of, some is not.
        let enough = names.len() + 5 * round;
        receiver.until(|got| got.len() >= enough).await;
        server.kill();
        server = Server::start(store.path(), &args).await;
    }
    let all = 2 * names.len();
    let accepted = |got: &[crate::support::Got]| {
        got.iter()
            .filter(|it| it.status == 200)
            .map(|it| it.id().to_owned())
            .collect::<BTreeSet<_>>()
    };
    receiver.until(|got| accepted(got).len() >= all).await;
    server.until("DELIVERED", |found| found.len() == all).await;
    let got = receiver.got();
    let mut told: BTreeMap<(String, String), BTreeSet<(String, String)>> = BTreeMap::new();
    for message in &got {
        let (name, event) = message.told();
        assert!(names.contains(&name), "{name} was never submitted");
        let key = (message.path.clone(), name);
        told.entry(key).or_default().insert((message.id().to_owned(), event));
    }
    assert_eq!(told.len(), all);
    for ((path, name), messages) in &told {
        // However often: one id, one event, which is that of the operation.
        assert_eq!(messages.len(), 1, "{path} {name}: {messages:?}");
        let operation = server.client.get(name, OperationView::Basic).await.unwrap();
        let (_, event) = messages.first().unwrap();
        let state = operation.state().as_str_name().to_lowercase();
        assert_eq!(*event, format!("operation.{}", state.trim_start_matches("state_")), "{name}");
    }
    let callbacks = server.client.webhook_secret("", "callbacks").await.unwrap().secret;
    let (subscribed, called): (Vec<_>, Vec<_>) =
        got.into_iter().partition(|it| it.path == "/subscribed");
    verify(&made.secret, &subscribed).unwrap();
    verify(&callbacks, &called).unwrap();
    // Nothing comes behind.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.got().len(), subscribed.len() + called.len());
}
