//! Replicas that do not hear each other for a while: what was committed meanwhile is seen all the same.

use longrun::proto::v1::Complete;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::work_request::Message as Up;

use crate::postgres_support::database;
use crate::support::{Replica, attempt, soon};

/// The connection of a replica that listens, by the name that the replica gives to its connections.
const LISTENING: &str = "SELECT pid FROM pg_stat_activity
    WHERE application_name = $1 AND query ~ '^(UN)?LISTEN' AND datname = current_database()";

#[tokio::test]
async fn a_watch_goes_on_when_the_connection_that_hears_is_cut() {
    let database = database().await;
    let of = |name: &str| format!("{}?application_name={name}", database.url);
    let [a, b] = ["a", "b"].map(|name| Replica::start(&of(name), &[]));
    let admin = database.connect().await;
    // The last one that was ended.
    let mut ended = 0;
    let mut cut = async || {
        let listening = soon(async {
            loop {
                let found = admin.query(LISTENING, &[&"b"]).await.unwrap();
                match found.first().map(|row| row.get::<_, i32>(0)) {
                    Some(pid) if pid != ended => return pid,
                    _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                }
            }
        });
        ended = listening.await;
        let end = "SELECT pg_terminate_backend($1, 60000)";
        assert!(admin.query_one(end, &[&ended]).await.unwrap().get::<_, bool>(0));
    };
    let mut work = a.work("cut.off", None, Vec::new()).await;
    for round in 0..2 {
        let operation = a.submit("cut.off").await;
        let mut watch = b.watch(&operation).await;
        let assignment = work.assignment().await;
        while watch.transition().await != (2, State::Running) {}
        // Within a moment of the end, and, in the other round, as soon as it listens again.
        cut().await;
        if round == 1 {
            cut().await;
        }
        let attempt = Some(attempt(&assignment));
        work.say(Up::Complete(Complete { attempt, report_id: 1, ..Default::default() })).await;
        work.heard().await;
        assert_eq!(watch.transition().await, (3, State::Succeeded));
    }
    // Queues are heard of in the same way: this one has its worker at the replica that was deaf.
    let mut work = b.work("waiting", None, Vec::new()).await;
    cut().await;
    let operation = a.submit("waiting").await;
    assert_eq!(work.assignment().await.operation.unwrap().name, operation.name);
}

#[tokio::test]
async fn what_a_replica_committed_before_it_died_is_seen_at_the_others() {
    let database = database().await;
    let dying = Replica::start(&database.url, &[]);
    let b = Replica::start(&database.url, &[]);
    let mut work = dying.work("last", None, Vec::new()).await;
    let operation = dying.submit("last").await;
    let mut watch = b.watch(&operation).await;
    let assignment = work.assignment().await;
    while watch.transition().await != (2, State::Running) {}
    let attempt = Some(attempt(&assignment));
    work.say(Up::Complete(Complete { attempt, report_id: 1, ..Default::default() })).await;
    // It is acknowledged, and that is the last that anybody hears of it.
    work.heard().await;
    dying.kill();
    assert_eq!(watch.transition().await, (3, State::Succeeded));
}
