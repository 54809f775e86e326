//! Which limits there may be, and which holds.

use super::*;

fn limit(name: LimitName, tenant: &str, kind: &str, label: &str) -> Limit {
    Limit {
        name,
        tenant: TenantId::parse(tenant).ok(),
        kind: Kind::parse(kind).ok(),
        label: (!label.is_empty()).then(|| label.to_owned()),
    }
}

#[test]
fn a_tenants_own_limit_takes_the_place_of_that_for_all() {
    use LimitName::{Outstanding, Running};
    let table = LimitTable::new([
        (limit(Outstanding, "", "", ""), 100),
        (limit(Outstanding, "a", "", ""), 5),
        (limit(Outstanding, "a", "k", ""), 3),
        (limit(Running, "", "", ""), 10),
        (limit(Running, "a", "", ""), 20),
        (limit(Running, "", "k", ""), 2),
        (limit(Running, "", "", "customer"), 1),
    ]);
    let table = table.expect("a table");
    let (a, b) = (TenantId::parse("a").expect("a"), TenantId::parse("b").expect("b"));
    let k = Kind::parse("k").expect("k");
    assert_eq!(table.get(Outstanding, &a, None), Some(5));
    assert_eq!(table.get(Outstanding, &a, Some(&k)), Some(3));
    assert_eq!(table.get(Outstanding, &b, None), Some(100));
    assert_eq!(table.get(Outstanding, &b, Some(&k)), None);
    let most = |tenant| {
        let of = table.running(tenant, &k).into_iter();
        of.map(|it| (it.of_kind, it.label.is_some(), it.most)).collect::<Vec<_>>()
    };
    assert_eq!(most(&a), [(false, false, 20), (false, true, 1), (true, false, 2)]);
    assert_eq!(most(&b), [(false, false, 10), (false, true, 1), (true, false, 2)]);
}

#[test]
fn batches_take_no_places_but_can_be_paused() {
    use LimitName::{Paused, Running};
    let (a, batches) = (TenantId::parse("a").expect("a"), Kind::of_batches().expect("a kind"));
    let table = LimitTable::new([(limit(Running, "", "", ""), 1)]).expect("a table");
    assert_eq!(table.running(&a, &batches), []);
    let table = table.with([(limit(Paused, "", batches.as_str(), ""), 1)]);
    assert_eq!(table.running(&a, &batches).len(), 1);
}

#[test]
fn a_paused_kind_has_no_places_and_keeps_its_limit() {
    use LimitName::{Paused, Running};
    let (a, b) = (TenantId::parse("a").expect("a"), TenantId::parse("b").expect("b"));
    let k = Kind::parse("k").expect("k");
    let limits = [(limit(Running, "a", "k", ""), 5), (limit(Paused, "", "k", ""), 1)];
    let table = LimitTable::new(limits).expect("a table");
    let most = |table: &LimitTable, tenant| -> Vec<u64> {
        table.running(tenant, &k).into_iter().map(|it| it.most).collect()
    };
    assert_eq!((most(&table, &a), most(&table, &b)), (vec![0], vec![0]));
    let table = table.with([(limit(Paused, "a", "k", ""), 0)]);
    assert_eq!((most(&table, &a), most(&table, &b)), (vec![5], vec![0]));
    assert_eq!((table.paused(&a).count(), table.paused(&b).count()), (0, 1));
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_by_its_rule() {
    use LimitName::{Outstanding, Paused, Running, Sessions, Weight};
    let refused = |limit, most| LimitTable::new([(limit, most)]).expect_err("refused");
    let kindless = "kind must be empty, because sessions has no kind";
    assert_eq!(refused(limit(Sessions, "", "k", ""), 1), kindless);
    let unlabelled = "label must be empty, because only running has a label";
    assert_eq!(refused(limit(Outstanding, "", "", "l"), 1), unlabelled);
    let weight = "weight must be from 1 to 1000";
    assert_eq!(refused(limit(Weight, "a", "", ""), 0), weight);
    let paused = "kind must be set for paused; paused must be 1, or 0 to exempt a tenant from a pause of all";
    assert_eq!(refused(limit(Paused, "a", "", ""), 2), paused);
    assert!(refused(limit(Running, "", "", "!"), 1).starts_with("label must "));
}
