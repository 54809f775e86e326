//! Lists: their order, their pages and their filters.

use longrun::operation::filter::Filter;
use longrun::operation::{Kind, Operation, OperationId, Scope, TenantId, Timestamp};
use longrun::store::{ListOrder, ListPosition, ListQuery, OrderBy, Store};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::generate;
use crate::support::*;

pub const ORDERS: [ListOrder; 4] = [
    ListOrder { by: OrderBy::CreateTime, descending: true },
    ListOrder { by: OrderBy::CreateTime, descending: false },
    ListOrder { by: OrderBy::EndTime, descending: true },
    ListOrder { by: OrderBy::EndTime, descending: false },
];

pub fn query(filter: &str, order: ListOrder, limit: usize) -> ListQuery {
    let filter = Filter::parse(filter).unwrap();
    ListQuery { scope: TenantId::default_tenant().into(), filter, order, after: None, limit }
}

fn position(operation: &Operation) -> ListPosition {
    let end_time = operation.ended_at().unwrap_or(Timestamp::MAX);
    ListPosition { end_time, id: operation.id() }
}

/// What the list should be, by the filter in memory.
fn expected(operations: &[Operation], query: &ListQuery) -> Vec<Operation> {
    let mut matching: Vec<Operation> =
        operations.iter().filter(|operation| query.filter.matches(operation)).cloned().collect();
    matching.sort_by_key(|operation| match query.order.by {
        OrderBy::CreateTime => (Timestamp::MAX, operation.id()),
        OrderBy::EndTime => (position(operation).end_time, operation.id()),
    });
    if query.order.descending {
        matching.reverse();
    }
    matching
}

async fn pages(store: &dyn Store, mut query: ListQuery) -> Vec<Operation> {
    let mut listed: Vec<Operation> = Vec::new();
    loop {
        let page = store.list(query.clone()).await.unwrap();
        assert!(page.len() <= query.limit);
        let Some(last) = page.last() else { return listed };
        query.after = Some(position(last));
        listed.extend(page);
    }
}

fn ids(operations: &[Operation]) -> Vec<OperationId> {
    operations.iter().map(Operation::id).collect()
}

/// Operations in every state.
fn some_operations(runner: &mut TestRunner) -> Vec<Operation> {
    generate::operations(60).new_tree(runner).unwrap().current()
}

pub async fn pages_are_in_order_and_complete_in_every_order(store: &dyn Store) {
    let mut operations = some_operations(&mut TestRunner::deterministic());
    operations.truncate(40);
    store.commit(writing(operations.clone())).await.unwrap();
    let filters =
        ["", "done=false", "done=true", "state=FAILED", "kind=a", "labels.a:*", "labels.a=x"];
    for filter in filters {
        for order in ORDERS {
            for limit in [1, 7, 1_000] {
                let query = query(filter, order, limit);
                let expected = expected(&operations, &query);
                let listed = pages(store, query).await;
                assert_eq!(listed, expected, "{filter} in {order:?}, in pages of {limit}");
            }
        }
    }
}

pub async fn pages_hold_still_while_operations_come_and_go(store: &dyn Store) {
    store.commit(submitting((1..=9).map(submission))).await.unwrap();
    let mut query = query("", ORDERS[0], 3);
    let first = store.list(query.clone()).await.unwrap();
    assert_eq!(ids(&first), [9, 8, 7].map(id));
    // One more, and the one at which the page ended goes.
    stored(store, submission(10)).await;
    store.commit(removing(&first[2])).await.unwrap();
    query.after = Some(position(&first[2]));
    let second = store.list(query.clone()).await.unwrap();
    assert_eq!(ids(&second), [6, 5, 4].map(id));
}

pub async fn a_list_is_of_one_tenant(store: &dyn Store) {
    let mut other = with_label(submission(1), "team", "a");
    other.tenant = TenantId::parse("other").unwrap();
    store.commit(submitting([other, with_label(submission(2), "team", "a")])).await.unwrap();
    let filters = ["", "kind=report.build", "state=QUEUED", "labels.team=a", "labels:team"];
    let none = ["state=FAILED state=QUEUED", "done=true state=QUEUED labels.team=a", "kind!=*"];
    for filter in filters {
        for order in ORDERS {
            let listed = store.list(query(filter, order, 10)).await.unwrap();
            assert_eq!(ids(&listed), [id(2)], "{filter} in {order:?}");
        }
    }
    for filter in none {
        for order in ORDERS {
            assert_eq!(store.list(query(filter, order, 10)).await.unwrap(), [], "{filter}");
        }
    }
}

pub async fn a_list_may_be_of_all_tenants(store: &dyn Store) {
    let labelled = |number| with_label(submission(number), "team", "a");
    let submissions = (1..=9).map(|number| {
        let mut new = labelled(number);
        new.tenant = TenantId::parse(["a", "b", "c"][number as usize % 3]).unwrap();
        new
    });
    store.commit(submitting(submissions)).await.unwrap();
    for filter in ["", "kind=report.build", "state=QUEUED", "labels.team=a", "done=false"] {
        for order in [ORDERS[0], ORDERS[1]] {
            for limit in [2, 10] {
                let query = ListQuery { scope: Scope::All, ..query(filter, order, limit) };
                let mut listed = ids(&pages(store, query).await);
                if order.descending {
                    listed.reverse();
                }
                assert_eq!(listed, [1, 2, 3, 4, 5, 6, 7, 8, 9].map(id), "{filter} in {order:?}");
            }
        }
    }
    let query = ListQuery { scope: Scope::All, ..query("state=FAILED", ORDERS[0], 10) };
    assert_eq!(store.list(query).await.unwrap(), []);
}

pub async fn batches_that_are_done_are_listed_for_all_tenants_by_end_time(store: &dyn Store) {
    let batch = |number: u64| {
        let mut new = submission(number);
        new.tenant = TenantId::parse(["a", "b", "c"][number as usize % 3]).unwrap();
        new.kind = if number == 3 { new.kind } else { Kind::of_batches().unwrap() };
        new
    };
    store.commit(submitting((1..=9).map(batch))).await.unwrap();
    // They end in another order, one of another kind, and two do not end.
    for number in [4, 2, 9, 3, 7, 1, 5] {
        let queued = load(store, id(number)).await.unwrap();
        let running = changed(store, &queued, &acquire(1)).await;
        let end = at(1_000 * (10 - number as i64 % 4));
        store.commit(changing(&running, &complete(&running), end).1).await.unwrap();
    }
    for limit in [2, 10] {
        let of_all = |order| ListQuery { scope: Scope::All, ..query("", order, limit) };
        let listed = ids(&pages(store, of_all(ORDERS[3])).await);
        assert_eq!(listed, [7, 2, 1, 5, 9, 4].map(id));
        let mut reversed = ids(&pages(store, of_all(ORDERS[2])).await);
        reversed.reverse();
        assert_eq!(reversed, listed);
    }
    let of_one_state = ListQuery { scope: Scope::All, ..query("state=FAILED", ORDERS[2], 10) };
    assert_eq!(store.list(of_one_state).await.unwrap(), []);
}

pub async fn lists_agree_with_the_filter_whatever_it_is(store: &dyn Store) {
    let mut runner = TestRunner::default();
    let filters = generate::filter();
    for _ in 0..3 {
        let operations = some_operations(&mut runner);
        store.commit(writing(operations.clone())).await.unwrap();
        for _ in 0..150 {
            let filter = filters.new_tree(&mut runner).unwrap().current();
            for order in ORDERS {
                let query = query(&filter, order, 1_000);
                let expected = ids(&expected(&operations, &query));
                let listed = store.list(query).await;
                let listed = ids(&listed.unwrap_or_else(|error| panic!("{filter}: {error}")));
                assert_eq!(listed, expected, "{filter} in {order:?} of {operations:#?}");
            }
        }
        for operation in &operations {
            store.commit(removing(operation)).await.unwrap();
        }
    }
}

pub async fn the_longest_filters_are_understood(store: &dyn Store) {
    stored(store, submission(1)).await;
    for (part, word) in
        [("labels:a", " "), ("labels:a", " OR "), ("done=true", " "), ("-done=true", " OR ")]
    {
        let room = (Filter::MAX_CHARS - 100) / (part.len() + word.len());
        let count = if part.starts_with("labels") { Filter::MAX_LABEL_TESTS } else { room };
        let flat = vec![part; count].join(word);
        let nested = format!("{}{flat}{}", "(".repeat(32), ")".repeat(32));
        let expected = usize::from(part == "-done=true");
        for filter in [flat, nested] {
            for order in ORDERS {
                let listed = store.list(query(&filter, order, 10)).await.unwrap();
                assert_eq!(listed.len(), expected);
            }
        }
    }
}
