//! What is counted, who waits for a place, and what comes back when one is free.

use super::*;
use crate::engine::sample::{at, id, key, kind, operation, tenant};
use crate::operation::limits::{Limit, LimitName};

/// Limits of tenant `t` on running attempts, each for a kind or a label, or for all together.
fn table(limits: &[(Option<&str>, Option<&str>, u64)]) -> Arc<LimitTable> {
    let limit = |(of, label, most): &(Option<&str>, Option<&str>, u64)| {
        let label = label.map(str::to_owned);
        let (name, tenant) = (LimitName::Running, Some(tenant("t")));
        (Limit { name, tenant, kind: of.map(kind), label }, *most)
    };
    Arc::new(LimitTable::new(limits.iter().map(limit)).expect("limits"))
}

fn counting(limits: &[(Option<&str>, Option<&str>, u64)]) -> Places {
    let mut places = Places::default();
    places.begin();
    places.set_table(table(limits));
    places
}

fn submission(number: u128, of: &str, customer: &str) -> Arc<Submission> {
    let labels = [("customer".to_owned(), customer.to_owned())].into();
    let sample = operation(number, at(0)).submission;
    Arc::new(Submission { tenant: tenant("t"), kind: kind(of), labels, ..(*sample).clone() })
}

/// Takes the places of operation `number` of kind `a`; whether it found them.
fn takes(places: &mut Places, number: u128) -> bool {
    places.take(id(number), &submission(number, "a", "x")).is_none()
}

fn of_tenant() -> Place {
    Place { tenant: tenant("t"), kind: None, label: None }
}

fn of_kind(name: &str) -> Place {
    Place { kind: Some(kind(name)), ..of_tenant() }
}

fn rank(number: u128) -> Rank {
    (std::cmp::Reverse(0), id(number))
}

fn hold(places: &mut Places, number: u128) {
    places.hold(id(number), of_tenant(), key("t", "a"), rank(number));
}

fn woken(places: &mut Places) -> Vec<OperationId> {
    places.wake().into_iter().map(|(_, rank)| rank.1).collect()
}

fn unpublished(places: &mut Places) -> Vec<(Place, u64)> {
    places.take_unpublished().collect()
}

#[test]
fn as_many_have_a_place_as_the_limit_says() {
    let mut places = counting(&[(None, None, 2)]);
    assert!(takes(&mut places, 1) && takes(&mut places, 2));
    let full = places.take(id(3), &submission(3, "a", "x"));
    assert_eq!(full, Some(of_tenant()));
    assert!(takes(&mut places, 2), "a running operation has its own place already");
    places.committed();
    places.end(id(1));
    assert!(takes(&mut places, 3) && !takes(&mut places, 4));
}

#[test]
fn a_process_that_does_not_count_refuses_nobody() {
    let mut places = Places::default();
    places.set_table(table(&[(None, None, 0)]));
    assert!(places.admits(&key("t", "a"), &HashMap::new()));
    assert!(takes(&mut places, 1) && takes(&mut places, 2));
    assert!(unpublished(&mut places).is_empty());
}

#[test]
fn every_limit_of_an_operation_holds() {
    let mut places =
        counting(&[(None, None, 3), (Some("a"), None, 2), (None, Some("customer"), 1)]);
    let labelled = |number, value| (id(number), submission(number, "a", value));
    let mut take = |(id, of): (OperationId, Arc<Submission>)| places.take(id, &of);
    let of_customer = Place { label: Some(("customer".into(), "x".into())), ..of_tenant() };
    assert_eq!(take(labelled(1, "x")), None);
    assert_eq!(take(labelled(2, "x")), Some(of_customer));
    assert_eq!(take(labelled(2, "y")), None);
    assert_eq!(take(labelled(3, "z")), Some(of_kind("a")));
    assert_eq!(take((id(3), submission(3, "b", "z"))), None);
    assert_eq!(take((id(4), submission(4, "b", "v"))), Some(of_tenant()));
}

#[test]
fn what_is_planned_counts_for_a_queue_as_what_runs() {
    let mut places =
        counting(&[(None, None, 3), (Some("a"), None, 2), (None, Some("customer"), 0)]);
    let planned = |of: &[(QueueKey, u64)]| of.iter().cloned().collect::<HashMap<_, _>>();
    assert!(takes_unlabelled(&mut places, 1));
    let one_of_a = planned(&[(key("t", "a"), 1), (key("u", "a"), 9)]);
    assert!(places.admits(&key("t", "a"), &planned(&[(key("u", "a"), 9), (key("t", "b"), 1)])));
    assert!(!places.admits(&key("t", "a"), &one_of_a), "kind a has both its places");
    assert!(places.admits(&key("t", "b"), &one_of_a), "kind b has no limit of its own");
    assert!(!places.admits(&key("t", "b"), &planned(&[(key("t", "a"), 1), (key("t", "b"), 1)])));
    assert!(places.admits(&key("u", "a"), &one_of_a), "the limits are another tenant's");
    // Both queues wait, and get turns again with the next place.
    assert_eq!(places.end(id(1)), [key("t", "b"), key("t", "a")]);
    assert!(places.unblock().is_empty());
}

fn takes_unlabelled(places: &mut Places, number: u128) -> bool {
    let of = Submission { labels: [].into(), ..(*submission(number, "a", "x")).clone() };
    places.take(id(number), &Arc::new(of)).is_none()
}

#[test]
fn what_waits_comes_back_in_order_as_places_become_free() {
    let mut places = counting(&[(None, None, 2)]);
    assert!(takes(&mut places, 1) && takes(&mut places, 2));
    places.committed();
    [5, 3, 4].into_iter().for_each(|number| hold(&mut places, number));
    assert!(woken(&mut places).is_empty(), "nothing is free");
    places.end(id(1));
    assert_eq!(woken(&mut places), [id(3)]);
    assert!(!places.let_go(id(3)), "it waits no more");
    // It did not take the place, so that it is the next one's.
    assert_eq!(woken(&mut places), [id(4)]);
    assert!(takes(&mut places, 4));
    assert!(woken(&mut places).is_empty());
    places.end(id(2));
    places.end(id(4));
    assert_eq!(woken(&mut places), [id(5)]);
    assert!(woken(&mut places).is_empty());
}

#[test]
fn who_no_longer_waits_is_not_woken() {
    let mut places = counting(&[(None, None, 1)]);
    assert!(takes(&mut places, 1));
    places.committed();
    hold(&mut places, 2);
    hold(&mut places, 3);
    assert!(places.let_go(id(2)) && !places.let_go(id(2)) && !places.let_go(id(9)));
    places.end(id(1));
    assert_eq!(woken(&mut places), [id(3)]);
    assert!(takes(&mut places, 3));
    hold(&mut places, 4);
    assert!(places.let_go(id(4)));
    places.end(id(3));
    assert!(places.freed.is_empty(), "nobody waits for it");
}

#[test]
fn a_draft_that_is_not_written_leaves_no_place_taken() {
    let mut places = counting(&[(None, None, 2)]);
    assert!(takes(&mut places, 1));
    places.committed();
    assert!(takes(&mut places, 2));
    assert!(!places.admits(&key("t", "a"), &HashMap::new()));
    assert_eq!(places.abandoned(), [key("t", "a")]);
    assert!(takes(&mut places, 2) && !takes(&mut places, 3), "what was committed stays");
    places.end_drafted(id(1));
    assert!(!takes(&mut places, 3), "only what this draft starts");
    places.end_drafted(id(2));
    assert!(takes(&mut places, 3));
    assert!(!places.admits(&key("t", "a"), &HashMap::new()));
    places.committed();
    assert_eq!(places.abandoned(), [key("t", "a")], "its turn comes again all the same");
    assert!(!takes(&mut places, 4));
}

#[test]
fn new_limits_count_what_runs_and_let_all_be_looked_at_again() {
    let mut places = counting(&[(None, None, 1)]);
    assert!(takes(&mut places, 1));
    places.committed();
    assert!(!places.admits(&key("t", "a"), &HashMap::new()));
    hold(&mut places, 2);
    let (blocked, held) = places.set_table(table(&[(Some("a"), None, 2)]));
    assert_eq!((blocked, held), (vec![key("t", "a")], vec![(key("t", "a"), rank(2))]));
    assert!(takes(&mut places, 2) && !takes(&mut places, 3));
    places.end(id(1));
    assert!(woken(&mut places).is_empty(), "what waited has been given back");
    assert!(takes(&mut places, 3));
    // Whoever waits since is woken, and nobody whom the new table gave back.
    hold(&mut places, 5);
    places.set_table(table(&[(None, None, 2)]));
    hold(&mut places, 6);
    places.end(id(2));
    assert_eq!(woken(&mut places), [id(6)]);
    let (blocked, held) = places.set_table(table(&[]));
    assert!(blocked.is_empty() && held.is_empty());
    assert!((4..20).all(|number| takes(&mut places, number)));
}

#[test]
fn the_counts_that_have_changed_are_published_once() {
    let mut places = counting(&[(None, None, 9), (Some("a"), None, 9)]);
    assert!(takes(&mut places, 1) && takes(&mut places, 2));
    assert_eq!(unpublished(&mut places), [(of_tenant(), 2), (of_kind("a"), 2)]);
    assert!(unpublished(&mut places).is_empty());
    places.end(id(1));
    places.end(id(1));
    assert_eq!(unpublished(&mut places), [(of_tenant(), 1), (of_kind("a"), 1)]);
    places.set_table(table(&[(Some("a"), None, 9)]));
    assert_eq!(unpublished(&mut places), [(of_tenant(), 0), (of_kind("a"), 1)]);
    places.end(id(2));
    assert_eq!(unpublished(&mut places), [(of_kind("a"), 0)]);
}
