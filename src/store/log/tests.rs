use proptest::prelude::*;

use super::*;

fn writer(writer: u64, sequence: u64) -> WriterState {
    WriterState { writer, nonce: writer * 1_000, sequence, trimmed: 0, is_ended: false }
}

fn ended(number: u64, sequence: u64) -> WriterState {
    WriterState { is_ended: true, ..writer(number, sequence) }
}

fn stamp(writer: u64, sequence: u64) -> Stamp {
    Stamp { writer, sequence }
}

fn range(writer: u64, after: u64, up_to: u64) -> Range {
    Range { writer, after, up_to }
}

#[test]
fn what_came_since_is_that_of_each_writer_behind_what_is_known() {
    let before = Head::new(vec![writer(1, 5), writer(2, 7)]).frontier();
    let now = Head::new(vec![writer(1, 5), writer(2, 9), writer(3, 4)]);
    assert_eq!(now.since(&before), Ok(vec![range(2, 7, 9), range(3, 0, 4)]));
    assert_eq!(now.since(&now.frontier()), Ok(vec![]));
    assert!(before.contains(stamp(2, 7)) && !before.contains(stamp(2, 8)));
    assert!(!before.contains(stamp(3, 1)));
}

#[test]
fn a_writer_that_has_ended_is_known_to_its_end() {
    let frontier = Head::new(vec![ended(1, 5), writer(2, 7)]).frontier();
    assert!(frontier.contains(stamp(1, 500)));
    // A writer that has ended may be forgotten.
    assert_eq!(Head::new(vec![writer(2, 7)]).since(&frontier), Ok(vec![]));
    // A writer that ended later is read to its end.
    let before = Head::new(vec![writer(1, 3), writer(2, 7)]).frontier();
    let now = Head::new(vec![ended(1, 5), writer(2, 7)]);
    assert_eq!(now.since(&before), Ok(vec![range(1, 3, 5)]));
}

#[test]
fn history_that_is_gone_is_noticed() {
    let at = Head::new(vec![writer(1, 3), writer(2, 7)]).frontier();
    let gone = |writers: Vec<WriterState>| Head::new(writers).since(&at) == Err(Gone);
    assert!(gone(vec![writer(2, 7)]), "a writer that was not known to its end is not there");
    assert!(gone(vec![writer(1, 2), writer(2, 7)]), "the position is ahead");
    assert!(gone(vec![writer(1, 3)]), "there were more writers");
    let over = Head::new(vec![ended(1, 3), ended(2, 7)]).frontier();
    assert_eq!(Head::new(vec![ended(1, 3)]).since(&over), Err(Gone), "also where all had ended");
    assert!(gone(vec![writer(1, 3), WriterState { nonce: 1, ..writer(2, 7) }]), "another's");
    assert!(gone(vec![WriterState { trimmed: 4, ..writer(1, 5) }, writer(2, 7)]), "trimmed");
    assert!(gone(vec![writer(1, 3), writer(2, 7), writer(4, 1)]), "writer 3 came and went");
    let trimmed = WriterState { trimmed: 3, ..writer(1, 5) };
    let now = Head::new(vec![trimmed, writer(2, 7)]);
    assert_eq!(now.since(&at), Ok(vec![range(1, 3, 5)]), "only what is known is trimmed");
    let newcomer = WriterState { trimmed: 1, ..writer(3, 2) };
    assert!(gone(vec![writer(1, 3), writer(2, 7), newcomer]), "the beginning is trimmed");
}

#[test]
fn positions_are_read_back_and_nothing_else_is() {
    let key = SigningKey([1; 32]);
    let at = Head::new(vec![ended(1, 9), writer(2, 300), writer(3, 1 << 40)]).frontier();
    let id = OperationId::from_bytes([9; 16]);
    let position = Position::at(at.clone());
    let positions = [
        position.clone(),
        Position { part: Some((at.into(), (id, Revision(3)))), ..position.clone() },
        Position { listed: Some(None), ..position.clone() },
        Position { listed: Some(Some(id)), ..position.clone() },
        Position::at(Frontier::default()),
    ];
    for position in positions {
        let token = position.encode(&key);
        assert_eq!(Position::decode(&token, &key), Some(position));
        assert_eq!(Position::decode(&token, &SigningKey([2; 32])), None);
        assert_eq!(Position::decode(&token[1..], &key), None);
    }
    for garbage in ["", "seen", "AAAA", "€", &"A".repeat(9_000)] {
        assert_eq!(Position::decode(garbage, &key), None);
    }
}

fn heads() -> impl Strategy<Value = (Head, Head)> {
    let one = (0_u64..4, 0_u64..4, any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 1..6).prop_map(|writers| {
        let (mut before, mut now) = (Vec::new(), Vec::new());
        let mut is_there = true;
        for ((first, more, ends, was_there), number) in writers.into_iter().zip(1..) {
            // Writers are added in the order of their numbers.
            is_there &= number == 1 || was_there;
            if is_there {
                before.push(writer(number, first));
            }
            now.push(WriterState { is_ended: ends, ..writer(number, first + more) });
        }
        (Head::new(before), Head::new(now))
    })
}

proptest! {
    #[test]
    fn every_commit_is_known_or_read_and_never_both((before, now) in heads()) {
        let (at, to) = (before.frontier(), now.frontier());
        let ranges = now.since(&at).unwrap();
        for state in now.writers() {
            for sequence in 1..=state.sequence {
                let stamp = stamp(state.writer, sequence);
                let is_read = ranges.iter().any(|range| {
                    range.writer == stamp.writer && range.after < sequence && sequence <= range.up_to
                });
                prop_assert!(at.contains(stamp) != is_read);
                prop_assert!(to.contains(stamp));
            }
        }
        let mut joined = at.clone();
        joined.join(&to);
        prop_assert_eq!(&joined, &to);
        let mut joined = to.clone();
        joined.join(&at);
        prop_assert_eq!(&joined, &to);
        prop_assert!(now.since(&to).unwrap().is_empty());
    }

    #[test]
    fn what_is_asked_at_once_is_all_that_is_new_of_known_writers((before, now) in heads()) {
        let (at, later) = (before.frontier(), now.frontier());
        let is_in = |ranges: &[Range], stamp: Stamp| {
            let is_within = |range: &Range| {
                let Range { writer, after, up_to } = *range;
                writer == stamp.writer && after < stamp.sequence && stamp.sequence <= up_to
            };
            ranges.iter().any(is_within)
        };
        for state in now.writers() {
            for sequence in 1..=state.sequence {
                let stamp = stamp(state.writer, sequence);
                let (is_new, is_expected) = (!at.contains(stamp), at.expects(stamp.writer));
                prop_assert_eq!(is_in(&at.beyond(&at, 9), stamp), is_new && is_expected);
                let next = is_new && at.is_next(stamp) && is_expected;
                prop_assert_eq!(is_in(&at.beyond(&at, 1), stamp), next);
                // From an earlier frontier, new writers are known, too, and those that have ended.
                prop_assert_eq!(is_in(&later.beyond(&at, 0), stamp), is_new);
            }
        }
        let ranges = now.since(&at).unwrap();
        let asked = at.beyond(&at, 9);
        let is_asked = |range: &Range| asked.iter().any(|it| it.contains(range));
        prop_assert!(ranges.iter().all(|it| is_asked(it) == at.expects(it.writer)));
    }
}
