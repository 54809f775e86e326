//! The parts of one commit. Nothing here knows of queues, workers or watchers.
//!
//! A [`Round`] owns the requests of one commit. After one lost race it is tried again unchanged. From the second on,
//! conflicting requests are committed apart from the rest, down to one operation, which then gets an error of its own.
//! Requests about rows that other transactions keep locked are split off at once and given up soon, because all other
//! requests wait meanwhile.

use std::collections::{BTreeSet, HashSet};

pub(crate) mod draft;
pub(crate) mod load;
pub(crate) mod log_books;
pub(crate) mod transition;
pub(crate) mod work;

use work::Work;

/// How many races one operation may lose before its requests are given up.
const MAX_LOSSES: u32 = 16;
/// A lock timeout counts as this many lost races.
const LOCKED: u32 = 6;

/// Works that are committed together, and the number of attempts that may start in the same commit.
#[derive(Debug)]
pub(crate) struct Round {
    works: Vec<Work>,
    starts: usize,
    losses: u32,
}

/// Why a commit of a round was refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Other writers were first: with what these works (by number) touch, and perhaps with attempts that were to start.
    Race(BTreeSet<usize>),
    /// Others held locks for too long, on what these works (by number) touch; empty if that is not known.
    Lock(BTreeSet<usize>),
    /// Something in it cannot be written.
    Damage,
}

/// The next step after a lost race.
#[derive(Debug)]
pub(crate) enum Next {
    Again(Round),
    /// Commit these, in this order.
    Apart(Vec<Round>),
    /// Only one operation is left: its requests get an error.
    GiveUp(Round),
}

impl Round {
    pub(crate) fn new(works: Vec<Work>, starts: usize) -> Self {
        Self { works, starts, losses: 0 }
    }

    /// Splits works into rounds to commit in this order. A removal must not share a commit with a transition of the
    /// same operation: it would delete that transition, and readers of the log would never see it.
    pub(crate) fn in_order(works: Vec<Work>, starts: usize) -> Vec<Self> {
        let (mut first, mut later) = (Vec::with_capacity(works.len()), Vec::new());
        let has_removals = works.iter().any(Work::may_remove);
        let (mut touched, mut put_off) = (HashSet::new(), HashSet::new());
        for work in works {
            let Some(id) = work.id().filter(|_| has_removals) else {
                first.push(work);
                continue;
            };
            let is_second = !touched.insert(id);
            if put_off.contains(&id) || is_second && work.may_remove() {
                put_off.insert(id);
                later.push(work);
            } else {
                first.push(work);
            }
        }
        let later = (!later.is_empty()).then(|| Self::new(later, 0));
        std::iter::once(Self::new(first, starts)).chain(later).collect()
    }

    pub(crate) fn works(&self) -> &[Work] {
        &self.works
    }

    pub(crate) fn into_works(self) -> Vec<Work> {
        self.works
    }

    /// How many attempts may start; with 0, resumed sessions are not sent what they missed either.
    pub(crate) fn starts(&self) -> usize {
        self.starts
    }

    pub(crate) fn lost(mut self, loss: &Loss) -> Next {
        let is_first = self.losses == 0;
        self.losses += match loss {
            Loss::Race(_) => 1,
            Loss::Lock(_) => LOCKED,
            Loss::Damage => MAX_LOSSES,
        };
        let may_pass = match loss {
            Loss::Race(_) => true,
            Loss::Lock(works) => works.is_empty(),
            Loss::Damage => false,
        };
        if is_first && may_pass {
            return Next::Again(self);
        }
        match (self.works.len(), self.starts) {
            (0, 0 | 1) | (1, 0) => match self.losses < MAX_LOSSES {
                true => Next::Again(self),
                false => Next::GiveUp(self),
            },
            // The next commits start the rest.
            (0, starts) => Next::Again(Self { starts: starts / 2, losses: 1, ..self }),
            _ => Next::Apart(self.apart(loss)),
        }
    }

    /// First the works that do not collide, then those that do, last the attempts that may start.
    fn apart(self, loss: &Loss) -> Vec<Self> {
        let half = self.works.len() / 2;
        let is_known = |at: &usize| match loss {
            Loss::Race(works) | Loss::Lock(works) => works.contains(at),
            Loss::Damage => false,
        };
        let known = (0..self.works.len()).filter(is_known).count();
        let is_partition = known > 0 && known < self.works.len();
        let (mut rest, mut colliding) = (Vec::new(), Vec::new());
        for (at, work) in self.works.into_iter().enumerate() {
            let is_later = if is_partition { is_known(&at) } else { at >= half };
            if is_later { &mut colliding } else { &mut rest }.push(work);
        }
        let part = |works| Self { works, starts: 0, losses: 1 };
        let mut parts: Vec<Self> =
            [rest, colliding].into_iter().filter(|works| !works.is_empty()).map(part).collect();
        if self.starts > 0 {
            parts.push(Self { works: Vec::new(), starts: self.starts, losses: 1 });
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::id;
    use crate::operation::{Attempt, Command};

    fn round(works: u128, starts: usize) -> Round {
        Round::new((1..=works).map(|number| Work::Recheck(id(number))).collect(), starts)
    }

    fn race(works: &[usize]) -> Loss {
        Loss::Race(works.iter().copied().collect())
    }

    fn lock(works: &[usize]) -> Loss {
        Loss::Lock(works.iter().copied().collect())
    }

    /// The works' numbers of each part, and how many attempts may start with it.
    fn parts(next: Next) -> Vec<(Vec<u128>, usize)> {
        let Next::Apart(parts) = next else { panic!("{next:?}") };
        let number = |work: &Work| (1..100).find(|number| work.id() == Some(id(*number))).unwrap();
        let of = |part: &Round| (part.works.iter().map(number).collect(), part.starts);
        parts.iter().map(of).collect()
    }

    fn again(next: Next) -> Round {
        let Next::Again(round) = next else { panic!("{next:?}") };
        round
    }

    #[test]
    fn a_removal_is_behind_the_commit_of_a_transition() {
        let own = |number, command: &Command| Work::Own(id(number), command.clone());
        let (lose, tick) =
            (Command::LoseLease { attempt: Attempt(1) }, Command::Tick { chance: 0.0 });
        let works = vec![
            own(1, &tick),
            own(2, &lose),
            own(2, &tick),
            own(3, &lose),
            own(2, &lose),
            Work::Forget,
        ];
        let rounds = Round::in_order(works, 5);
        let of = |round: &Round| {
            let ids =
                round.works.iter().map(|work| work.id().map(|it| (1..9).find(|n| id(*n) == it)));
            (ids.map(Option::flatten).collect::<Vec<_>>(), round.starts)
        };
        let rounds: Vec<_> = rounds.iter().map(of).collect();
        let expected = [(vec![Some(1), Some(2), Some(3), None], 5), (vec![Some(2), Some(2)], 0)];
        assert_eq!(rounds, expected);
        assert_eq!(Round::in_order(vec![own(2, &lose), own(2, &lose)], 5).len(), 1);
    }

    #[test]
    fn a_first_lost_race_is_run_again_as_it_was() {
        let again = again(round(3, 5).lost(&race(&[0])));
        assert_eq!((again.works.len(), again.starts), (3, 5));
    }

    #[test]
    fn from_the_second_on_what_collides_is_apart_from_the_rest_and_from_what_may_start() {
        let twice = |loss: Loss| parts(again(round(4, 5).lost(&race(&[0]))).lost(&loss));
        assert_eq!(twice(race(&[1, 3])), [(vec![1, 3], 0), (vec![2, 4], 0), (vec![], 5)]);
        assert_eq!(twice(race(&[])), [(vec![1, 2], 0), (vec![3, 4], 0), (vec![], 5)]);
        assert_eq!(twice(lock(&[])), [(vec![1, 2], 0), (vec![3, 4], 0), (vec![], 5)]);
        assert_eq!(twice(race(&[0, 1, 2, 3])), [(vec![1, 2], 0), (vec![3, 4], 0), (vec![], 5)]);
    }

    #[test]
    fn what_is_known_to_be_locked_is_apart_at_once() {
        let first = parts(round(4, 5).lost(&lock(&[2])));
        assert_eq!(first, [(vec![1, 2, 4], 0), (vec![3], 0), (vec![], 5)]);
        assert_eq!(parts(round(1, 5).lost(&lock(&[0]))), [(vec![1], 0), (vec![], 5)]);
    }

    #[test]
    fn damage_is_looked_for_at_once() {
        assert_eq!(parts(round(1, 5).lost(&Loss::Damage)), [(vec![1], 0), (vec![], 5)]);
        let Next::GiveUp(_) = round(1, 0).lost(&Loss::Damage) else { panic!("it is found") };
    }

    #[test]
    fn one_operation_is_given_up_when_it_has_lost_often_enough() {
        for (loss, most) in [(race(&[0]), MAX_LOSSES), (lock(&[0]), 3), (lock(&[]), 3)] {
            for (works, starts) in [(1, 0), (0, 1)] {
                let (mut one, mut tries) = (round(works, starts), 1);
                loop {
                    match one.lost(&loss) {
                        Next::Again(again) => one = again,
                        Next::GiveUp(_) => break,
                        Next::Apart(parts) => panic!("{parts:?}"),
                    }
                    tries += 1;
                }
                assert_eq!(tries, most);
            }
        }
    }

    #[test]
    fn of_what_may_start_less_is_tried_each_time() {
        let mut starting = again(round(0, 16).lost(&race(&[])));
        for starts in [8, 4, 2, 1] {
            starting = again(starting.lost(&race(&[])));
            assert_eq!(starting.starts, starts);
        }
    }

    #[test]
    fn a_split_ends() {
        let (mut left, mut given_up, mut tries) = (vec![round(100, 512)], 0, 0);
        while let Some(next) = left.pop() {
            tries += 1;
            match next.lost(&lock(&[])) {
                Next::Again(again) => left.push(again),
                Next::Apart(parts) => left.extend(parts),
                Next::GiveUp(_) => given_up += 1,
            }
        }
        assert_eq!(given_up, 101);
        assert!(tries < 600, "{tries}");
    }
}
