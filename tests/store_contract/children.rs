//! Children of batches: how they are counted, and when they are taken.

use longrun::operation::batch::KIND;
use longrun::operation::{
    ChildCounts, Command, Kind, Operation, OperationId, StateName, Submission, TenantId,
};
use longrun::store::{Store, StoreError};

use crate::lists::{ORDERS, query};
use crate::support::*;

fn batch(number: u64) -> Submission {
    Submission { kind: Kind::parse(KIND).unwrap(), ..submission(number) }
}

fn child(number: u64, parent: u64) -> Submission {
    Submission { parent: Some(id(parent)), ..submission(number) }
}

async fn counts(store: &dyn Store, parent: OperationId) -> ChildCounts {
    store.children(vec![(TenantId::default_tenant(), parent)]).await.unwrap().remove(0)
}

fn cancel() -> Command {
    Command::Cancel { reason: String::new() }
}

pub async fn children_are_counted_by_state(store: &dyn Store) {
    let batches = [batch(1), batch(2), submission(3)];
    let others = [submission(4), child(5, 2)];
    let children: Vec<Submission> = (11..=16).map(|number| child(number, 1)).collect();
    store.commit(submitting(batches.into_iter().chain(others).chain(children))).await.unwrap();
    let found = |number| async move { load(store, id(number)).await.unwrap() };
    changed(store, &found(11).await, &cancel()).await;
    let running = changed(store, &found(12).await, &acquire(1)).await;
    changed(store, &running, &complete(&running)).await;
    changed(store, &found(13).await, &acquire(2)).await;

    let mut expected = ChildCounts::default();
    for (state, count) in [
        (StateName::Queued, 3),
        (StateName::Running, 1),
        (StateName::Succeeded, 1),
        (StateName::Cancelled, 1),
    ] {
        expected.add_stored(state, count);
    }
    let mut one = ChildCounts::default();
    one.add_stored(StateName::Queued, 1);
    let tenant = TenantId::default_tenant;
    let asked = [1, 3, 2, 99].map(|number| (tenant(), id(number)));
    let none = ChildCounts::default();
    assert_eq!(store.children(asked.into()).await.unwrap(), [expected, none, one, none]);
    let elsewhere = vec![(TenantId::parse("other").unwrap(), id(1))];
    assert_eq!(store.children(elsewhere).await.unwrap(), [none]);
    assert_eq!(store.children(Vec::new()).await.unwrap(), []);
    assert_eq!(found(11).await.submission.parent, Some(id(1)));
}

pub async fn removed_children_count_until_their_batch_is_removed(store: &dyn Store) {
    let all = [batch(1), child(2, 1), child(3, 1), child(4, 1), child(5, 99)];
    store.commit(submitting(all)).await.unwrap();
    let mut done: Vec<Operation> = Vec::new();
    for number in [2, 3, 5] {
        let child = load(store, id(number)).await.unwrap();
        done.push(changed(store, &child, &cancel()).await);
    }
    for child in &done {
        store.commit(removing(child)).await.unwrap();
    }
    let left = counts(store, id(1)).await;
    assert_eq!((left.total(), left.removed(), left.live()), (3, 2, 1));
    assert_eq!((left.of(StateName::Cancelled), left.stored(StateName::Cancelled)), (2, 0));
    assert_eq!(counts(store, id(99)).await, ChildCounts::default(), "that batch is not there");

    let parent = load(store, id(1)).await.unwrap();
    let last = load(store, id(4)).await.unwrap();
    let mut both = removing(&parent);
    both.removals.extend(removing(&last).removals);
    store.commit(both).await.unwrap();
    assert_eq!(counts(store, id(1)).await, ChildCounts::default());
}

pub async fn a_child_is_taken_only_at_the_revision_of_its_batch(store: &dyn Store) {
    let parent = stored(store, batch(1)).await;
    let at = |operation: &Operation| vec![(operation.id(), operation.life.revision)];
    let mut first = submitting([child(2, 1), child(3, 1)]);
    first.parents = at(&parent);
    store.commit(first).await.unwrap();
    let ended = changed(store, &parent, &cancel()).await;
    let mut late = submitting([child(4, 1)]);
    late.parents = at(&parent);
    match store.commit(late.clone()).await {
        Err(StoreError::Conflict(ids)) => assert_eq!(ids, [id(1)]),
        other => panic!("{other:?}"),
    }
    assert!(load(store, id(4)).await.is_none());
    store.commit(removing(&ended)).await.unwrap();
    assert!(matches!(store.commit(late).await, Err(StoreError::Conflict(_))));
    assert!(load(store, id(4)).await.is_none());
}

pub async fn children_are_listed_in_every_order(store: &dyn Store) {
    let others = (200..=230).map(submission);
    let children = (2..=40).map(|number| child(number, 1 + number % 2 * 100));
    store.commit(submitting(children.chain(others))).await.unwrap();
    for number in [4, 8, 12, 5] {
        let child = load(store, id(number)).await.unwrap();
        changed(store, &child, &cancel()).await;
    }
    let filter = format!("parent=\"{}\"", id(1).name());
    let expected: Vec<OperationId> = (2..=40).filter(|it| it % 2 == 0).map(id).collect();
    for order in ORDERS {
        let listed = store.list(query(&filter, order, 100)).await.unwrap();
        let mut ids: Vec<OperationId> = listed.iter().map(Operation::id).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{order:?}");
        let cancelled = format!("{filter} state=CANCELLED");
        let listed = store.list(query(&cancelled, order, 2)).await.unwrap();
        let ids: Vec<OperationId> = listed.iter().map(Operation::id).collect();
        let asked = if order.descending { [12, 8] } else { [4, 8] };
        assert_eq!(ids, asked.map(id), "{order:?}");
    }
    let none = format!("parent=\"{}\"", id(7).name());
    assert_eq!(store.list(query(&none, ORDERS[0], 10)).await.unwrap(), []);
}
