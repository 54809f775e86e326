//! Webhooks go over with a store: what was to be sent is sent by the new server, and nothing of history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use longrun::store::CatalogueChange;
use rusqlite::Connection;
use serde_json::Value;

use crate::copy::copy;
use crate::receiver::Receiver;
use crate::served::until;
use crate::stored::{open, store_in};
use crate::support::{Server, longrun};

fn serve(store: &str) -> Server {
    let flags = ["serve", "--listen", "127.0.0.1:0", "--store", store];
    let mut command = longrun(&flags);
    command.args(["--handler", "ok=cat", "--webhook-allow", "127.0.0.0/8"]);
    Server::spawned(command, tempfile::tempdir().unwrap())
}

fn kill(mut server: Server) {
    server.process.kill().unwrap();
    server.process.wait().unwrap();
}

/// The deliveries in a state: operation and id.
fn deliveries(server: &Server, state: &str) -> BTreeSet<(String, String)> {
    let listed = server.json(&["webhook", "deliveries", "--state", state, "--limit", "1000"]);
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    let listed = listed["deliveries"].as_array().unwrap().iter();
    listed.map(|it| (text(it, "operation"), text(it, "deliveryId"))).collect()
}

fn until_delivered(server: &Server, count: usize) -> BTreeSet<(String, String)> {
    until(|| {
        let found = deliveries(server, "DELIVERED");
        (found.len() == count).then_some(found)
    })
}

/// The entries that say how far the log was read for webhooks.
async fn position(url: &str) -> BTreeMap<String, Bytes> {
    let store = open(url).await;
    let entries = store.catalogue("webhook-courier").await.unwrap().entries;
    store.close().await;
    entries
}

/// As if the server had been killed before it read what came after `position`, and stored deliveries to these receivers.
async fn unread(url: &str, position: BTreeMap<String, Bytes>, receivers: &[String]) {
    let store = open(url).await;
    let (space, put) = ("webhook-courier".to_owned(), position);
    let change = CatalogueChange { space, put, ..CatalogueChange::default() };
    store.change_catalogue(change).await.unwrap();
    for receiver in receivers {
        assert!(store.deliveries().unwrap().drop_endpoint(receiver).await.unwrap() > 0);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_go_over_and_history_is_sent_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let database = crate::postgres_support::database().await;
    let [from, last] = ["from.db", "last.db"].map(|name| store_in(directory.path(), name));
    let receiver = Receiver::start(204);
    let hook = format!("{}/hook", receiver.url);

    let server = serve(&from);
    let submit_to =
        |server: &Server, to: &str| server.submit(&["ok", "x", "--wait", "--callback-url", to]);
    let submit = |server: &Server| submit_to(server, &hook);
    // Before there is a webhook, so that no webhook is about it.
    server.submit(&["ok", "early", "--wait"]);
    let made = server.json(&["webhook", "create", &hook]);
    let webhook = made["webhook"]["webhookId"].as_str().unwrap().to_owned();
    let secret = server.expect(0, &["webhook", "secret", "callbacks"]);
    let told = submit(&server);
    until_delivered(&server, 2);
    kill(server);
    let before = position(&from).await;
    receiver.status.store(500, Ordering::SeqCst);
    let server = serve(&from);
    // By another name it is another receiver.
    let waiting = submit_to(&server, &hook.replace("127.0.0.1", "localhost"));
    let lost = submit(&server);
    until(|| (deliveries(&server, "PENDING").len() == 4).then_some(()));
    let expected = deliveries(&server, "PENDING");
    kill(server);
    let receivers = [format!("callbacks/default/{}", receiver.url), format!("default/{webhook}")];
    unread(&from, before, &receivers).await;

    let summary = copy(&[&from, &database.url]);
    assert_eq!(summary["copied"]["deliveries"], 6);
    assert_eq!(summary["webhookGap"], false);
    assert_eq!(summary["from"]["deliveries"]["count"], 6);
    let again = copy(&[&from, &database.url]);
    assert_eq!(again["copied"]["deliveries"], 0);
    let summary = copy(&[&*database.url, &last]);
    assert_eq!(summary["copied"]["deliveries"], 6);

    let sent = receiver.got().len();
    let server = serve(&last);
    assert_eq!(deliveries(&server, "PENDING"), expected);
    assert_eq!(server.expect(0, &["webhook", "secret", "callbacks"]), secret);
    receiver.status.store(204, Ordering::SeqCst);
    for (_, id) in &expected {
        server.expect(0, &["webhook", "redeliver", id]);
    }
    let new = submit(&server);
    let delivered = until_delivered(&server, 8);
    let of = |name: &str| delivered.iter().filter(|(operation, _)| operation == name).count();
    for name in [&told, &waiting, &lost, &new] {
        assert_eq!(of(name), 2, "{name}");
    }
    let sent_by_last: BTreeSet<String> =
        receiver.got().into_iter().skip(sent).map(|(id, _)| id).collect();
    let history = delivered.iter().filter(|(operation, _)| *operation == told);
    for (_, id) in history {
        assert!(!sent_by_last.contains(id), "{id} was sent before the copy");
    }
    assert_eq!(sent_by_last.len(), 6);
    kill(server);

    // Another delivery at the destination is somebody else's.
    let rows = Connection::open(path("last.db")).unwrap();
    rows.execute("UPDATE deliveries SET body = x'00' WHERE n = 1", []).unwrap();
    drop(rows);
    let refused = crate::support::run(&["store", "copy", &from, &last]);
    assert!(!refused.status.success());
}
