//! What several replicas may have only one of: queued operations, keys, revisions, due times.

use std::time::Duration;

use longrun::operation::limits::RunningLimit;
use longrun::operation::{Command, Kind, Revision, TenantId};
use longrun::store::shared::{Outstanding, Wanted};
use longrun::store::{Batch, LogAppend, Store};

use super::*;

#[tokio::test]
async fn claims_are_disjoint_and_in_order() {
    let (_database, a, b) = two().await;
    let mut submissions: Vec<_> = (1..=8).map(submission).collect();
    submissions[5].settings.priority = 90;
    submissions[7].settings.priority = 80;
    a.commit(submitting(submissions)).await.unwrap();

    assert_eq!(claim(&a, 3).await, [6, 8, 1]);
    assert_eq!(claim(&b, 3).await, [2, 3, 4]);
    // One is leased, two are given back.
    let sixth = load(&a, id(6)).await.unwrap();
    a.commit(keeping(1)).await.unwrap();
    assert_eq!(claim(&a, 1).await, [6]);
    a.commit(leasing(&sixth, 1).1).await.unwrap();
    assert_eq!(claim(&a, 9).await, [8, 1, 5, 7]);
    b.commit(Batch::default()).await.unwrap();
    assert_eq!(claim(&b, 9).await, [2, 3, 4]);
    a.close().await;
    // What a replica has claimed goes with it.
    assert_eq!(claim(&b, 9).await, [8, 1, 2, 3, 4, 5, 7]);
    b.close().await;
}

#[tokio::test]
async fn what_may_not_start_yet_is_told_by_its_time() {
    let (_database, a, b) = two().await;
    let mut submissions: Vec<_> = (1..=4).map(submission).collect();
    submissions[0].start_at = at(3_000);
    submissions[1].start_at = at(2_000);
    submissions[2].kind = Kind::parse("other").unwrap();
    a.commit(submitting(submissions)).await.unwrap();
    let claimed = shared(&b).claim(wanted(9), Vec::new(), at(1_000)).await.unwrap();
    assert_eq!(claimed.operations.iter().map(number).collect::<Vec<_>>(), [4]);
    assert_eq!(claimed.next_at, Some(at(2_000)));
    let claimed = shared(&b).claim(wanted(9), Vec::new(), at(2_000)).await.unwrap();
    assert_eq!(claimed.operations.iter().map(number).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(claimed.next_at, Some(at(3_000)));
    let none = shared(&a).claim(Vec::new(), Vec::new(), at(2_000)).await.unwrap();
    assert!(none.operations.is_empty() && none.next_at.is_none());
    let mut counted = shared(&a).outstanding().await.unwrap();
    counted.sort_by_key(|it| it.count);
    let count = |it: &Outstanding| (it.kind.as_str().to_owned(), it.count);
    let counted: Vec<_> = counted.iter().map(count).collect();
    assert_eq!(counted, [("other".to_owned(), 1), ("report.build".to_owned(), 3)]);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn due_operations_are_told_to_one() {
    let (_database, a, b) = two().await;
    for number in 1..=4 {
        let mut submission = submission(number);
        submission.settings.deadline = Some(Duration::from_millis(100 - number));
        a.commit(submitting([submission])).await.unwrap();
    }
    let later = at(100);
    assert_eq!(a.due(later, 3).await.unwrap(), [1, 2, 3].map(id));
    assert_eq!(b.due(later, 9).await.unwrap(), [id(4)]);
    a.commit(Batch::default()).await.unwrap();
    assert_eq!(b.due(later, 9).await.unwrap().len(), 4);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_conflict_names_all_that_were_changed() {
    let (_database, a, b) = two().await;
    a.commit(submitting((1..=6).map(submission))).await.unwrap();
    let mut stale = Batch::default();
    for number in 1..=6 {
        let operation = load(&b, id(number)).await.unwrap();
        match number {
            1..=3 => {
                let change = changing(&operation, &acquire(2), at(600)).1;
                stale.writes.extend(change.writes);
                stale.events.extend(change.events);
            }
            4 => stale.removals.extend(removing(&operation).removals),
            5 => stale.logs.push(LogAppend {
                id: operation.id(),
                revision: Revision(1),
                attempt: operation.life.attempt,
                worker: None,
                at: at(1),
                lines: vec![(1, "a line".to_owned())],
                keep_from: 0,
            }),
            _ => {
                let again = submitting([submission(6), submission(7)]);
                stale.writes.extend(again.writes);
                stale.events.extend(again.events);
            }
        }
        if number != 2 && number != 6 {
            changed(&a, &operation, &Command::Cancel { reason: String::new() }).await;
        }
    }
    assert_eq!(conflicts(b.commit(stale).await), [1, 3, 4, 5, 6]);
    assert_eq!(load(&b, id(2)).await.unwrap().life.revision, Revision(1));
    assert_eq!(load(&b, id(7)).await, None);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn one_key_at_once_is_one_operation() {
    let (_database, a, b) = two().await;
    for round in 0..20 {
        let key = format!("order-{round}");
        let (one, other) = (2 * round + 1, 2 * round + 2);
        let (first, second) = tokio::join!(
            a.commit(submitting([with_key(submission(one), &key)])),
            b.commit(submitting([with_key(submission(other), &key)])),
        );
        match first {
            Ok(_) => assert_eq!(conflicts(second), [other]),
            first => {
                assert_eq!(conflicts(first), [one]);
                second.unwrap();
            }
        }
    }
    a.close().await;
    b.close().await;
}

/// Two that write the same operations in different orders do not stop each other for good.
#[tokio::test]
async fn crossing_writes_end() {
    let (_database, a, b) = two().await;
    a.commit(submitting((1..=50).map(submission))).await.unwrap();
    let mut batches = [Batch::default(), Batch::default()];
    for (at_work, batch) in batches.iter_mut().enumerate() {
        for number in 1..=50 {
            let operation = load(&a, id(number)).await.unwrap();
            let change = changing(&operation, &acquire(at_work as u8), at(600)).1;
            batch.writes.extend(change.writes);
            batch.events.extend(change.events);
        }
    }
    batches[1].writes.reverse();
    let [first, second] = batches;
    let (first, second) = tokio::join!(a.commit(first), b.commit(second));
    let lost = if first.is_ok() { second } else { first.and(second) };
    assert_eq!(conflicts(lost).len(), 50);
    a.close().await;
    b.close().await;
}

/// What PostgreSQL has no text for is kept all the same.
#[tokio::test]
async fn any_character_may_be_in_a_line_or_a_filter() {
    let (_database, a, b) = two().await;
    let queued = stored(&a, with_label(submission(1), "team", "é")).await;
    let mut batch = Batch::default();
    batch.logs.push(LogAppend {
        id: queued.id(),
        revision: Revision(1),
        attempt: queued.life.attempt,
        worker: None,
        at: at(1),
        lines: vec![(1, "a\0b".to_owned())],
        keep_from: 0,
    });
    a.commit(batch).await.unwrap();
    let query = longrun::store::HistoryQuery {
        id: id(1),
        after: Default::default(),
        include_log: true,
        limit: 9,
    };
    let history = b.history(query).await.unwrap();
    assert!(matches!(&history[1], longrun::store::HistoryEntry::Log(line) if line.text == "a\0b"));
    for (filter, found) in [
        ("labels.team=\"\0\"", 0),
        ("labels.team!=\"\0*\"", 1),
        ("labels.team=\"*\0\"", 0),
        ("labels.\"a\0\":*", 0),
        ("kind=\"\0\"", 0),
        ("labels.team=\"é*\"", 1),
    ] {
        let Ok(filter) = longrun::operation::filter::Filter::parse(filter) else { continue };
        let mut query = crate::lists::query("", crate::lists::ORDERS[0], 9);
        query.filter = filter.clone();
        assert_eq!(b.list(query).await.unwrap().len(), found, "{filter:?}");
    }
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn what_is_damaged_or_excepted_hides_no_other() {
    let (database, a, b) = two().await;
    let submissions: Vec<_> = (1..=5).map(submission).collect();
    a.commit(submitting(submissions)).await.unwrap();
    let client = database.connect().await;
    let damage = "UPDATE operations SET life = '\\xff' WHERE id = (SELECT id FROM operations ORDER BY id LIMIT 1)";
    assert_eq!(client.execute(damage, &[]).await.unwrap(), 1);
    let claimed = shared(&b).claim(wanted(2), vec![id(3)], at(1_000)).await.unwrap();
    assert_eq!(claimed.damaged, [id(1)]);
    assert_eq!(claimed.operations.iter().map(number).collect::<Vec<_>>(), [2]);
    b.commit(Batch::default()).await.unwrap();
    let claimed = shared(&b).claim(wanted(2), vec![id(1), id(3)], at(1_000)).await.unwrap();
    assert_eq!(claimed.damaged, []);
    assert_eq!(claimed.operations.iter().map(number).collect::<Vec<_>>(), [2, 4]);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn queues_of_kinds_are_found_of_one_tenant_after_the_other() {
    let (_database, a, b) = two().await;
    let tenant = |name: &str| TenantId::parse(name).unwrap();
    let kind = |name: &str| Kind::parse(name).unwrap();
    let mut submissions: Vec<_> = (1..=9).map(submission).collect();
    for (at, submission) in submissions.iter_mut().enumerate() {
        submission.tenant = tenant(["a", "b-2", "b1"][at % 3]);
        submission.kind = kind(if at < 8 { "demo" } else { "other" });
    }
    submissions[0].start_at = at(3_000);
    a.commit(submitting(submissions)).await.unwrap();
    let found = async |kinds: &[&str], after: Option<&str>, limit| {
        let kinds = kinds.iter().map(|name| kind(name)).collect();
        let queues = shared(&b).queues(kinds, after.map(tenant), limit).await.unwrap();
        let mut found: Vec<_> =
            queues.found.iter().map(|(tenant, kind)| format!("{kind} of {tenant}")).collect();
        found.sort_unstable();
        (found.join(", "), queues.last.map(|last| last.to_string()))
    };
    let all = |text: &str| (text.to_owned(), None);
    assert_eq!(found(&["demo"], None, 9).await, all("demo of a, demo of b-2, demo of b1"));
    let some = |text: &str, last: &str| (text.to_owned(), Some(last.to_owned()));
    assert_eq!(found(&["demo"], None, 2).await, some("demo of a, demo of b-2", "b-2"));
    assert_eq!(found(&["demo"], Some("b-2"), 2).await, all("demo of b1"));
    let both = ["demo", "other", "none"];
    let expected = "demo of b-2, demo of b1, other of b1";
    assert_eq!(found(&both, Some("a"), 9).await, all(expected));
    assert_eq!(found(&["other"], None, 2).await, some("", "b-2"), "it says where to go on");
    a.close().await;
    b.close().await;
}

/// Claims with a limit of running attempts: which, whether there may be more, whether another replica is at it.
async fn limited(store: &PostgresStore, limit: &RunningLimit) -> (Vec<u64>, bool, bool) {
    let wanted = wanted(9).into_iter().map(|it| Wanted { limits: vec![limit.clone()], ..it });
    let claimed = shared(store).claim(wanted.collect(), Vec::new(), at(1_000)).await;
    let claimed = claimed.unwrap();
    let numbers = claimed.operations.iter().map(number).collect();
    (numbers, !claimed.held.is_empty(), claimed.is_contended)
}

#[tokio::test]
async fn a_limit_of_running_attempts_holds_for_all_replicas_together() {
    let (_database, a, b) = two().await;
    a.commit(submitting((1..=4).map(submission))).await.unwrap();
    a.commit(keeping(1)).await.unwrap();
    for of_kind in [false, true] {
        let limit = RunningLimit { of_kind, label: None, most: 1 };
        assert_eq!(limited(&a, &limit).await, (vec![1], true, false));
        assert_eq!(limited(&b, &limit).await, (vec![], true, true), "the other is just claiming");
        b.commit(Batch::default()).await.unwrap();
        a.commit(Batch::default()).await.unwrap();
    }
    let limit = |most| RunningLimit { of_kind: true, label: None, most };
    assert_eq!(limited(&a, &limit(1)).await, (vec![1], true, false));
    let (running, lease) = leasing(&load(&a, id(1)).await.unwrap(), 1);
    a.commit(lease).await.unwrap();
    assert_eq!(limited(&b, &limit(1)).await, (vec![], true, false));
    assert_eq!(limited(&b, &limit(3)).await, (vec![2, 3], true, false));
    b.commit(Batch::default()).await.unwrap();
    changed(&a, &running, &complete(&running)).await;
    assert_eq!(limited(&b, &limit(1)).await, (vec![2], true, false));
    assert_eq!(limited(&b, &limit(9)).await, (vec![2, 3, 4], false, false));
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_limit_for_each_value_of_a_label_passes_over_what_is_full() {
    let (_database, a, b) = two().await;
    let values = ["x", "x", "y", "x", "z", ""];
    let submissions = values.iter().zip(1..).map(|(value, number)| match *value {
        "" => submission(number),
        value => with_label(submission(number), "customer", value),
    });
    a.commit(submitting(submissions)).await.unwrap();
    a.commit(keeping(1)).await.unwrap();
    let limit = RunningLimit { of_kind: true, label: Some("customer".to_owned()), most: 1 };
    assert_eq!(limited(&a, &limit).await, (vec![1, 3, 5, 6], true, false));
    let (running, lease) = leasing(&load(&a, id(1)).await.unwrap(), 1);
    a.commit(lease).await.unwrap();
    assert_eq!(limited(&b, &limit).await.0, [3, 5, 6]);
    b.commit(Batch::default()).await.unwrap();
    changed(&a, &running, &complete(&running)).await;
    assert_eq!(limited(&b, &limit).await.0, [2, 3, 5, 6]);
    a.close().await;
    b.close().await;
}
