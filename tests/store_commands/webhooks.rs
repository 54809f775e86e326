//! Webhooks go over with a store: what was to be sent is sent by the new server, and nothing of history.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use serde_json::Value;

use crate::copy::copy;
use crate::receiver::Receiver;
use crate::served::until;
use crate::stored::store_in;
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

/// The entry that says how far the log was read for webhooks.
fn position(store: &Path) -> Vec<u8> {
    let rows = Connection::open(store).unwrap();
    let sql = "SELECT value FROM catalogue WHERE space = 'webhook-courier'";
    rows.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// As if the server had been killed before it read what came after `position`, and stored deliveries of `operation`.
fn unread(store: &Path, position: &[u8], operation: &str) {
    let rows = Connection::open(store).unwrap();
    let sql = "UPDATE catalogue SET value = ?1 WHERE space = 'webhook-courier'";
    assert_eq!(rows.execute(sql, [position]).unwrap(), 1);
    let sql = "DELETE FROM deliveries WHERE operation = unhex(?1, '-')";
    let id = operation.strip_prefix("operations/").unwrap();
    assert_eq!(rows.execute(sql, [id]).unwrap(), 2, "a callback, and a subscription");
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
    let submit = |server: &Server| server.submit(&["ok", "x", "--wait", "--callback-url", &hook]);
    // Before there is a webhook, so that no webhook is about it.
    server.submit(&["ok", "early", "--wait"]);
    server.expect(0, &["webhook", "create", &hook]);
    let secret = server.expect(0, &["webhook", "secret", "callbacks"]);
    let told = submit(&server);
    until_delivered(&server, 2);
    kill(server);
    let before = position(&path("from.db"));
    receiver.status.store(500, Ordering::SeqCst);
    let server = serve(&from);
    let [waiting, lost] = [submit(&server), submit(&server)];
    until(|| (deliveries(&server, "PENDING").len() == 4).then_some(()));
    let expected = deliveries(&server, "PENDING");
    kill(server);
    unread(&path("from.db"), &before, &lost);

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
