//! What replicas hear of each other.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use longrun::operation::{Command, Event, EventType, Revision};
use longrun::store::shared::{Hint, Topic};
use longrun::store::{Batch, Store, StoreError};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, NoTls};

use super::proxy::{Fate, Proxy};
use super::*;

fn change(number: u64) -> Hint {
    Hint::Changed(vec![id(number)])
}

async fn listening(store: &PostgresStore, topic: Topic) -> longrun::store::shared::Listening {
    let mut listening = shared(store).listen(topic);
    timeout(Duration::from_secs(20), listening.effective()).await.unwrap();
    listening
}

/// Two replicas, of which the first has heard of the second: until then it tells nobody.
async fn acquainted() -> (Database, PostgresStore, PostgresStore) {
    let (database, a, b) = two().await;
    let listening = listening(&b, Topic::Operations).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_told = async || timeout(Duration::from_millis(100), next_news(&b)).await.is_ok();
    loop {
        assert!(Instant::now() < deadline, "the first replica does not hear of the second");
        let probe = stored(&a, submission(900)).await;
        a.commit(removing(&probe)).await.unwrap();
        if is_told().await {
            break;
        }
    }
    let last = stored(&a, submission(901)).await;
    a.commit(removing(&last)).await.unwrap();
    // It was told of as it came, and as it went.
    for _ in 0..2 {
        while next_news(&b).await != change(901) {}
    }
    drop(listening);
    (database, a, b)
}

#[tokio::test]
async fn others_hear_of_changes_and_nobody_of_its_own() {
    let (_database, a, b) = acquainted().await;
    let _a = listening(&a, Topic::Operations).await;
    let _b = listening(&b, Topic::Operations).await;
    let first = stored(&a, submission(1)).await;
    assert_eq!(next_news(&b).await, change(1));
    let second = stored(&b, submission(2)).await;
    // Its own came before.
    assert_eq!(next_news(&a).await, change(2));
    // Two transitions in one commit, and a removal.
    let (running, mut batch) = changing(&first, &acquire(1), at(5));
    let (_, end) = changing(&running, &Command::Cancel { reason: String::new() }, at(6));
    batch.events.extend(end.events);
    batch.writes[0].operation = end.writes[0].operation.clone();
    a.commit(batch).await.unwrap();
    assert_eq!(next_news(&b).await, change(1));
    b.commit(removing(&second)).await.unwrap();
    assert_eq!(next_news(&a).await, change(2));
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn transitions_of_many_are_read_at_once() {
    let database = database().await;
    let store = open(&database).await;
    let first = stored(&store, submission(1)).await;
    stored(&store, submission(2)).await;
    store.commit(keeping(1)).await.unwrap();
    let (running, batch) = leasing(&first, 1);
    store.commit(batch).await.unwrap();
    changed(&store, &running, &complete(&running)).await;
    let revisions = async |asked: &[(u64, u64)], limit: usize| {
        let asked = asked.iter().map(|(of, after)| (id(*of), Revision(*after))).collect();
        let found = shared(&store).transitions(asked, limit).await.unwrap();
        let of = |events: &Vec<Event>| events.iter().map(|it| it.life.revision.0).collect();
        found.iter().map(of).collect::<Vec<Vec<u64>>>()
    };
    let asked = [(2, 0), (1, 1), (9, 0), (1, 3), (1, 0)];
    assert_eq!(revisions(&asked, 9).await, [vec![1], vec![2, 3], vec![], vec![], vec![1, 2, 3]]);
    assert_eq!(revisions(&asked, 2).await, [vec![1], vec![2, 3], vec![], vec![], vec![1, 2]]);
    assert!(revisions(&[], 2).await.is_empty());
    let events = shared(&store).transitions(vec![(id(1), Revision(2))], 9).await.unwrap();
    assert_eq!(events[0][0].event_type, EventType::Finished);
    store.close().await;
}

#[tokio::test]
async fn only_what_is_asked_for_is_heard() {
    let (database, a, other) = acquainted().await;
    let b = open(&database).await;
    // Before it is connected, nothing waits to be listened to.
    assert_eq!(next_hint(&b).await, Hint::Missed);
    let queue = Topic::Queue(submission(1).tenant, submission(1).kind);
    let _queue = listening(&b, queue).await;
    // The ids of these differ in their last digit, by which channels are told apart.
    let of_seventh = listening(&b, Topic::Operation(id(7))).await;
    a.commit(submitting([submission(6), submission(7)])).await.unwrap();
    let mut heard = [next_news(&b).await, next_news(&b).await];
    heard.sort_by_key(|hint| *hint == Hint::Queued);
    assert_eq!(heard, [change(7), Hint::Queued]);
    drop(of_seventh);
    let sixth = load(&a, id(6)).await.unwrap();
    changed(&a, &sixth, &acquire(1)).await;
    stored(&a, submission(8)).await;
    assert_eq!(next_news(&b).await, Hint::Queued);
    other.close().await;
    a.close().await;
    b.close().await;
}

/// More than fits into a notification is told as something that was missed.
#[tokio::test]
async fn many_changes_at_once_are_told_as_missed() {
    let (_database, a, b) = acquainted().await;
    let _b = listening(&b, Topic::Operations).await;
    stored(&a, submission(1)).await;
    assert_eq!(next_news(&b).await, change(1));
    a.commit(submitting((1_001..=6_000).map(submission))).await.unwrap();
    assert_eq!(next_hint(&b).await, Hint::Missed);
    a.close().await;
    b.close().await;
}

/// Hears everything.
async fn spy(database: &Database) -> (tokio_postgres::Client, mpsc::UnboundedReceiver<String>) {
    let (client, mut connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    let (sender, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages =
            futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification.channel().to_owned());
            }
        }
    });
    for number in 0..16 {
        let channels = ["operations", "queue"];
        for channel in channels.map(|what| format!("longrun_{what}_{number:02}")) {
            client.batch_execute(&format!("LISTEN {channel}")).await.unwrap();
        }
    }
    client.batch_execute("LISTEN done").await.unwrap();
    (client, heard)
}

#[tokio::test]
async fn who_is_alone_tells_nobody() {
    let database = database().await;
    let (client, mut heard) = spy(&database).await;
    let a = open(&database).await;
    stored(&a, submission(1)).await;
    client.batch_execute("NOTIFY done").await.unwrap();
    assert_eq!(heard.recv().await.as_deref(), Some("done"));

    let b = open(&database).await;
    let deadline = Instant::now() + Duration::from_secs(2);
    for number in 2.. {
        assert!(Instant::now() < deadline, "nobody was told after another replica came");
        stored(&a, submission(number)).await;
        client.batch_execute("NOTIFY done").await.unwrap();
        if heard.recv().await.as_deref() != Some("done") {
            break;
        }
    }
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_broken_connection_is_told_and_mended() {
    let (database, a, b) = acquainted().await;
    let _b = listening(&b, Topic::Operations).await;
    stored(&a, submission(1)).await;
    assert_eq!(next_news(&b).await, change(1));
    let admin = database.connect().await;
    let killed = admin
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE '%LISTEN%' AND pid <> pg_backend_pid()",
            &[],
        )
        .await
        .unwrap();
    assert!(killed >= 1);
    assert_eq!(next_hint(&b).await, Hint::Missed);
    let mut again = shared(&b).listen(Topic::Operation(id(2)));
    again.effective().await;
    stored(&a, submission(2)).await;
    assert_eq!(next_news(&b).await, change(2));
    a.close().await;
    b.close().await;
}

/// Who comes may not be known to all at once; it is told that it missed something when it is.
#[tokio::test]
async fn who_comes_hears_once_more_that_it_missed_something() {
    let database = database().await;
    let a = open(&database).await;
    assert_eq!(next_hint(&a).await, Hint::Missed);
    assert_eq!(next_hint(&a).await, Hint::Missed);
    a.commit(Batch::default()).await.unwrap();
    a.close().await;
}

/// Of a commit that was in doubt others may not have been told: behind the fence they are told that they may have
/// missed something.
#[tokio::test]
async fn a_commit_in_doubt_is_told_as_missed() {
    let (database, a, b) = acquainted().await;
    let proxy = Proxy::to(&database).await;
    let doubter = open_url(&proxy.url).await;
    let _b = listening(&b, Topic::Operations).await;
    // Its arrival is over, and others are known to it.
    stored(&doubter, submission(1)).await;
    while next_news(&b).await != change(1) {}
    proxy.next(Fate::Unanswered);
    let committed = doubter.commit(submitting([submission(2)])).await;
    assert!(matches!(committed, Err(StoreError::Unknown(_))), "{committed:?}");
    doubter.settle().await.unwrap();
    while next_hint(&b).await != Hint::Missed {}
    assert!(load(&b, id(2)).await.is_some());
    for store in [a, b, doubter] {
        store.close().await;
    }
}

/// What one that died has committed without telling, others hear of as something that they missed.
#[tokio::test]
async fn what_the_dead_told_nobody_is_told_as_missed() {
    let database = database().await;
    let b = open(&database).await;
    // Its own arrival, to the end.
    assert_eq!(next_hint(&b).await, Hint::Missed);
    assert_eq!(next_hint(&b).await, Hint::Missed);
    let _b = listening(&b, Topic::Operations).await;
    let proxy = Proxy::to(&database).await;
    let dying = open_url(&proxy.url).await;
    stored(&dying, submission(1)).await;
    assert_eq!(next_hint(&b).await, change(1));
    // Who has looked at the others since then knows of it.
    let admin = database.connect().await;
    let renewed = async || {
        let rows = admin.query("SELECT expires_at::text FROM replicas ORDER BY id", &[]).await;
        rows.unwrap().first().unwrap().get::<_, String>(0)
    };
    let (before, deadline) = (renewed().await, Instant::now() + Duration::from_secs(60));
    while renewed().await == before {
        assert!(Instant::now() < deadline, "it does not renew its row");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.next(Fate::Untold);
    let committed = dying.commit(submitting([submission(2)])).await;
    assert!(matches!(committed, Err(StoreError::Unknown(_))), "{committed:?}");
    drop(dying);
    let end = "UPDATE replicas SET expires_at = now() WHERE id = (SELECT id FROM replicas ORDER BY id DESC LIMIT 1)";
    assert_eq!(admin.execute(end, &[]).await.unwrap(), 1);
    assert_eq!(next_hint(&b).await, Hint::Missed);
    assert!(load(&b, id(2)).await.is_some());
    b.close().await;
}
