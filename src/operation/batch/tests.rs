use proptest::prelude::*;

use super::*;
use StateName::{Cancelled, Cancelling, Failed, PartiallySucceeded, Queued, Running, Succeeded};

fn counts(of: &[(StateName, u64)]) -> ChildCounts {
    let mut counts = ChildCounts::default();
    of.iter().for_each(|(state, count)| counts.add_stored(*state, *count));
    counts
}

fn rule(name: RuleName, max_failures: u64, expected_children: u64) -> BatchRule {
    BatchRule { name, max_failures, expected_children }
}

#[test]
fn each_rule_ends_as_it_says() {
    use RuleName::{All, Any, MaxFailures};
    let (whole, part, fail) =
        (Some(Ending::Succeeded), Some(Ending::PartiallySucceeded), Some(Ending::Failed));
    // The ending with children in these states: by ALL, by ANY, by at most 1 failure.
    type Line = (&'static [(StateName, u64)], [Option<Ending>; 3]);
    let table: &[Line] = &[
        (&[(Queued, 2)], [None, None, None]),
        (&[(Running, 1), (Cancelling, 1)], [None, None, None]),
        (&[(Succeeded, 2)], [whole, whole, whole]),
        (&[(Succeeded, 1), (Running, 1)], [None, whole, None]),
        (&[(Succeeded, 1), (Failed, 1)], [fail, whole, part]),
        (&[(Succeeded, 1), (Cancelled, 1)], [fail, whole, part]),
        (&[(Failed, 1), (Queued, 1)], [fail, None, None]),
        (&[(Failed, 1), (Cancelled, 1), (Queued, 1)], [fail, None, fail]),
        (&[(Failed, 2)], [fail, fail, fail]),
        (&[(Failed, 1)], [fail, fail, part]),
        (&[(Succeeded, 5), (Failed, 2)], [fail, whole, fail]),
        (&[(PartiallySucceeded, 1), (Queued, 1)], [None, part, None]),
        (&[(PartiallySucceeded, 1), (Succeeded, 1)], [part, whole, part]),
        (&[(PartiallySucceeded, 1)], [part, part, part]),
    ];
    for (children, endings) in table {
        let rules = [rule(All, 0, 0), rule(Any, 0, 0), rule(MaxFailures, 1, 0)];
        for (rule, ending) in rules.iter().zip(endings) {
            assert_eq!(rule.ending(&counts(children)), *ending, "{} of {children:?}", rule.name);
        }
    }
}

#[test]
fn a_batch_waits_for_the_children_that_it_expects() {
    use RuleName::{All, Any, MaxFailures};
    let two = counts(&[(Succeeded, 2)]);
    assert_eq!(rule(All, 0, 3).ending(&two), None);
    assert_eq!(rule(All, 0, 2).ending(&two), Some(Ending::Succeeded));
    assert_eq!(rule(MaxFailures, 0, 3).ending(&two), None);
    assert_eq!(rule(Any, 0, 3).ending(&two), Some(Ending::Succeeded), "it waits for no more");
    assert_eq!(rule(Any, 0, 3).ending(&counts(&[(Failed, 2)])), None);
    assert_eq!(rule(All, 0, 3).ending(&counts(&[(Failed, 1)])), Some(Ending::Failed));
}

#[test]
fn removed_children_count_in_the_state_that_they_ended_in() {
    let mut some = counts(&[(Succeeded, 1), (Failed, 1)]);
    some.add_removed(Failed, 2);
    assert_eq!((some.total(), some.unsuccessful(), some.unsuccessful_stored()), (4, 3, 1));
    assert_eq!((some.removed(), some.live(), some.ended()), (2, 0, 4));
    assert_eq!(some.in_words(), "4 of 4 children have ended: 1 succeeded, 3 failed");
    assert_eq!(counts(&[(Queued, 1)]).in_words(), "0 of 1 child have ended");
}

#[test]
fn an_input_is_a_rule_and_nothing_else_is() {
    for rule in [rule(RuleName::All, 0, 0), rule(RuleName::MaxFailures, 7, 100)] {
        assert_eq!(BatchRule::read(&rule.payload().data), Some(rule));
    }
    assert_eq!(&rule(RuleName::Any, 0, 0).payload().data[..], br#"{"rule":"ANY"}"#);
    for odd in
        ["", "{}", "[]", r#"{"rule":1}"#, r#"{"rule":"ALL","maxFailures":-1}"#, r#"{"rule":"all"}"#]
    {
        assert_eq!(BatchRule::read(odd.as_bytes()), None, "{odd}");
    }
}

fn any_counts() -> impl Strategy<Value = ChildCounts> {
    (prop::array::uniform7(0..4_u64), prop::array::uniform7(0..3_u64)).prop_map(
        |(stored, removed)| {
            let mut counts = ChildCounts::default();
            for (state, (stored, removed)) in StateName::ALL.iter().zip(stored.iter().zip(removed))
            {
                counts.add_stored(*state, *stored);
                counts.add_removed(*state, if state.is_done() { removed } else { 0 });
            }
            counts
        },
    )
}

proptest! {
    /// A slow worker, or another one that takes over, must reach the same end.
    #[test]
    fn an_early_end_stays_the_same_whatever_becomes_of_the_others(
        name in prop::sample::select(&RuleName::ALL[..]),
        max_failures in 0..4_u64,
        expected in 0..20_u64,
        before in any_counts(),
        becomes in prop::collection::vec(prop::sample::select(vec![Succeeded, PartiallySucceeded, Failed, Cancelled]), 12),
    ) {
        let max_failures = if name == RuleName::MaxFailures { max_failures } else { 0 };
        let rule = rule(name, max_failures, expected);
        let mut after = ChildCounts::default();
        let mut becomes = becomes.into_iter();
        for state in StateName::ALL {
            for _ in 0..before.of(state) {
                let ended = if state.is_done() { state } else { becomes.next().unwrap_or(Cancelled) };
                after.add_stored(ended, 1);
            }
        }
        let (first, last) = (rule.ending(&before), rule.ending(&after));
        match (first, last) {
            // One success is enough, and later children may make it partial.
            (Some(Ending::PartiallySucceeded), Some(Ending::Succeeded)) => {
                prop_assert_eq!(name, RuleName::Any);
            }
            (Some(_), last) => prop_assert_eq!(first, last),
            (None, _) => {}
        }
        // A batch whose expected children have all ended has ended.
        if after.total() >= expected {
            prop_assert!(last.is_some());
        }
    }
}
