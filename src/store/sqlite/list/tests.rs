use rusqlite::Connection;

use super::*;
use crate::operation::filter::Filter;
use crate::operation::{OperationId, Scope, TenantId, Timestamp};
use crate::store::sqlite::schema;
use crate::store::{ListOrder, ListPosition, OrderBy};

const BY_CREATE_TIME: [ListOrder; 2] = orders(OrderBy::CreateTime);
const BY_END_TIME: [ListOrder; 2] = orders(OrderBy::EndTime);

const fn orders(by: OrderBy) -> [ListOrder; 2] {
    [ListOrder { by, descending: true }, ListOrder { by, descending: false }]
}

fn empty() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    connection
}

/// SQLite's plan for the first page and for a later one.
fn steps(connection: &Connection, filter: &str, order: ListOrder) -> Vec<String> {
    steps_within(connection, TenantId::default_tenant().into(), filter, order)
}

fn steps_within(
    connection: &Connection,
    scope: Scope,
    filter: &str,
    order: ListOrder,
) -> Vec<String> {
    let mut steps = Vec::new();
    for end_time in [None, Some(Timestamp::from_micros(5)), Some(Timestamp::MAX)] {
        let id = OperationId::from_bytes([5; 16]);
        let query = ListQuery {
            scope: scope.clone(),
            filter: Filter::parse(filter).unwrap(),
            order,
            after: end_time.map(|end_time| ListPosition { end_time, id }),
            limit: 50,
        };
        let Some((sql, params)) = planned(connection, &query).unwrap() else { continue };
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines =
            explain.query_map(params_from_iter(params.values), |row| row.get("detail")).unwrap();
        steps.extend(lines.map(|line| line.unwrap()));
    }
    steps
}

/// Asserts that every arm uses an index, that some arm uses `index`, and that none sorts.
fn assert_goes_through(index: &str, columns: &str, filter: &str, orders: [ListOrder; 2]) {
    let connection = empty();
    for order in orders {
        let steps = steps(&connection, filter, order);
        let lookup = format!("INDEX {index} ({columns}");
        assert!(
            steps.iter().any(|step| step.starts_with("SEARCH o") && step.contains(&lookup)),
            "{filter} in {order:?} is not by {lookup}: {steps:#?}"
        );
        let scans = steps.iter().filter(|step| step.starts_with("SCAN"));
        assert!(
            scans.into_iter().all(|step| *step == "SCAN arm" || *step == "SCAN page"),
            "{filter} in {order:?} scans: {steps:#?}"
        );
        let sorts = steps.windows(2).any(|step| {
            step[0].contains("INDEX operations_") && step[1].starts_with("USE TEMP B-TREE")
        });
        assert!(!sorts, "{filter} in {order:?} sorts: {steps:#?}");
    }
}

#[test]
fn lists_by_create_time_look_up_an_index() {
    let all = BY_CREATE_TIME;
    assert_goes_through("operations_active", "tenant=?", "", all);
    assert_goes_through("operations_active", "tenant=? AND id", "", all);
    assert_goes_through("operations_done", "tenant=? AND state=?", "", all);
    assert_goes_through("operations_active", "tenant=?", "state=QUEUED", all);
    assert_goes_through("operations_running", "tenant=? AND state=?", "state=RUNNING", all);
    assert_goes_through("operations_done", "tenant=? AND state=? AND id", "done=true", all);
    assert_goes_through("operations_queued", "tenant=? AND kind=?", "kind=a", all);
    assert_goes_through("operations_running", "tenant=? AND state=?", "kind=a", all);
    assert_goes_through("operations_done_kind", "tenant=? AND kind=? AND state=?", "kind=a", all);
    let both = "kind=a state=FAILED";
    assert_goes_through(
        "operations_done_kind",
        "tenant=? AND kind=? AND state=? AND id",
        both,
        all,
    );
    let range = "create_time>=2026-01-01T00:00:00Z create_time<2026-01-02T00:00:00Z";
    assert_goes_through("operations_active", "tenant=? AND id>? AND id<?", range, all);
    assert_goes_through("operations_done", "tenant=? AND state=? AND id>? AND id<?", range, all);
}

#[test]
fn lists_by_end_time_look_up_an_index() {
    let all = BY_END_TIME;
    for filter in ["", "done=true", "state=FAILED", "priority>5"] {
        let columns = "tenant=? AND state=? AND (ended_at,id)";
        assert_goes_through("operations_ended", columns, filter, all);
    }
    for filter in ["", "state=QUEUED", "done=false"] {
        assert_goes_through("operations_active", "tenant=?", filter, all);
        assert_goes_through("operations_active", "tenant=? AND id", filter, all);
    }
    assert_goes_through("operations_running", "tenant=? AND state=?", "state=RUNNING", all);
}

#[test]
fn lists_of_all_tenants_look_up_an_index() {
    let connection = empty();
    for order in BY_CREATE_TIME.into_iter().chain(BY_END_TIME) {
        let steps = steps_within(&connection, Scope::All, "done=true", order);
        let index = match order.by {
            OrderBy::CreateTime => "operations_id",
            OrderBy::EndTime => "operations_batches",
        };
        assert!(steps.iter().any(|step| step.contains(index)), "{order:?}: {steps:#?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{order:?}: {steps:#?}");
    }
}

#[test]
fn children_are_found_by_their_batch() {
    let filter = "parent=0191e2ab-7c1d-7000-8000-0123456789ab";
    let columns = "tenant=? AND parent=? AND state=?";
    assert_goes_through("operations_children", columns, filter, BY_CREATE_TIME);
    let connection = empty();
    for order in BY_END_TIME {
        let steps = steps(&connection, filter, order);
        let lookup = format!("INDEX operations_children ({columns}");
        assert!(steps.iter().any(|step| step.contains(&lookup)), "{steps:#?}");
    }
    let counts = "EXPLAIN QUERY PLAN SELECT o.state, count(*) FROM operations AS o
        INDEXED BY operations_children
        WHERE o.tenant = ?1 AND o.parent = ?2 AND o.parent IS NOT NULL GROUP BY o.state";
    let mut explain = connection.prepare(counts).unwrap();
    let plan = explain.query_map(["", ""], |row| row.get::<_, String>("detail")).unwrap();
    let plan: Vec<String> = plan.map(Result::unwrap).collect();
    let covering = "SEARCH o USING COVERING INDEX operations_children (tenant=? AND parent=?)";
    assert_eq!(plan, [covering], "it reads the index alone, in its order");
}

#[test]
fn labels_are_followed() {
    let connection = empty();
    for order in BY_CREATE_TIME.into_iter().chain(BY_END_TIME) {
        for filter in ["labels.team=a", "labels.team=a done=false", "labels:team kind=a"] {
            let steps = steps(&connection, filter, order);
            let lookup = "SEARCH l USING COVERING INDEX labels_value (tenant=? AND key=?";
            assert!(steps.iter().any(|step| step.starts_with(lookup)), "{filter}: {steps:#?}");
        }
    }
}
