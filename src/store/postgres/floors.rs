//! Where reads of an index begin while its first rows are dead but cannot be vacuumed.
//!
//! An open transaction, of a backup or a forgotten `psql`, keeps every version of a row that it may still see. So
//! claimed and removed operations stay at the front of their indexes, and each read in order passes all of them, longer
//! every minute. Therefore a slow read has the least row looked up, the *floor*; later reads begin there.
//!
//! A floor may hide a row that came late. So now and then a look begins at the very beginning, and sets the floor anew:
//! that takes as long as reads would without floors, and so it happens in the background (`looks`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long after one look from the very beginning the next one is made: this, or so many times what the first took.
const WHOLE: Duration = Duration::from_secs(5);
const IDLE: u32 = 20;
/// How often a floor is raised meanwhile.
const RAISED: Duration = Duration::from_millis(500);
/// How long after that a floor is forgotten, if nobody reads there any more.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// The maximum number of floors of one index.
const MOST: usize = 1_024;

/// The floors of one index: a value for each key, such as a queue.
#[derive(Debug)]
pub(super) struct Floors<K, V> {
    /// A read that takes this much longer than the fastest is slow, and gets a floor. `None`: every read does.
    slow: Option<Duration>,
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    of: HashMap<K, Floor<V>>,
    fastest: Option<Duration>,
    is_looking: bool,
}

#[derive(Clone, Copy, Debug)]
struct Floor<V> {
    value: V,
    raise_at: Instant,
    whole_at: Instant,
}

/// What a look has to find out: for each key the least value, from the floor on or of all.
#[derive(Debug)]
pub(super) struct Look<K, V> {
    pub(super) from: Vec<(K, Option<V>)>,
    begin: Instant,
}

impl<K: Clone + Eq + Hash, V: Copy + Ord> Floors<K, V> {
    pub(super) fn new(slow: Option<Duration>) -> Self {
        let inner = Inner { of: HashMap::new(), fastest: None, is_looking: false };
        Self { slow, inner: Mutex::new(inner) }
    }

    /// Where a read of this key begins, if not at the beginning.
    pub(super) fn of(&self, key: &K) -> Option<V> {
        self.inner().of.get(key).map(|floor| floor.value)
    }

    /// All floors.
    pub(super) fn all(&self) -> Vec<(K, V)> {
        self.inner().of.iter().map(|(key, floor)| (key.clone(), floor.value)).collect()
    }

    /// Notes a read of these keys. Returns the look to make now, if any; there is never more than one.
    pub(super) fn used(
        &self,
        keys: impl IntoIterator<Item = K>,
        took: Duration,
        now: Instant,
    ) -> Option<Look<K, V>> {
        let mut inner = self.inner();
        let is_slow = inner.is_slow(took, self.slow);
        if inner.is_looking {
            return None;
        }
        inner.of.retain(|_, floor| now <= floor.whole_at + FORGOTTEN);
        let mut from = Vec::new();
        for key in keys {
            match inner.of.get(&key).copied() {
                Some(floor) if floor.whole_at <= now => from.push((key, None)),
                Some(floor) if floor.raise_at <= now => from.push((key, Some(floor.value))),
                None if is_slow && inner.of.len() + from.len() < MOST => from.push((key, None)),
                _ => {}
            }
        }
        inner.is_looking = !from.is_empty();
        (!from.is_empty()).then_some(Look { from, begin: now })
    }

    /// Raises the floor of this key, if it has one, without a look: a read in order has found this least value.
    pub(super) fn raise(&self, key: &K, value: V, now: Instant) {
        if let Some(floor) = self.inner().of.get_mut(key) {
            (floor.value, floor.raise_at) = (floor.value.max(value), now + RAISED);
        }
    }

    /// Ends a look: with the values that it has found, in the order of its keys, if it succeeded.
    pub(super) fn looked(&self, look: Look<K, V>, found: Option<Vec<V>>, now: Instant) {
        let mut inner = self.inner();
        inner.is_looking = false;
        let took = now.saturating_duration_since(look.begin);
        let is_slow = inner.is_slow(took, self.slow);
        let (raise_at, whole_at) = (now + RAISED, now + WHOLE.max(took * IDLE));
        let Some(found) = found else {
            for (key, from) in &look.from {
                if let Some(floor) = inner.of.get_mut(key) {
                    floor.raise_at = raise_at;
                    floor.whole_at = if from.is_none() { whole_at } else { floor.whole_at };
                }
            }
            return;
        };
        for ((key, from), value) in look.from.into_iter().zip(found) {
            match from {
                None if is_slow => {
                    inner.of.insert(key, Floor { value, raise_at, whole_at });
                }
                None => {
                    inner.of.remove(&key);
                }
                Some(from) => {
                    if let Some(floor) = inner.of.get_mut(&key) {
                        floor.value = floor.value.max(from).max(value);
                        floor.raise_at = raise_at;
                    }
                }
            }
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Inner<K, V> {
    fn is_slow(&mut self, took: Duration, slow: Option<Duration>) -> bool {
        let fastest = self.fastest.map_or(took, |it| it.min(took));
        self.fastest = Some(fastest);
        slow.is_none_or(|slow| took > fastest + slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(9);

    fn floors(slow: Option<u64>) -> Floors<&'static str, u32> {
        Floors::new(slow.map(Duration::from_millis))
    }

    fn from(look: &Option<Look<&'static str, u32>>) -> Vec<(&'static str, Option<u32>)> {
        look.as_ref().map(|look| look.from.clone()).unwrap_or_default()
    }

    #[test]
    fn a_slow_read_sets_a_floor_that_rises_and_that_a_fast_whole_look_ends() {
        let (floors, begin) = (floors(Some(3)), Instant::now());
        assert!(floors.used(["a", "b"], FAST, begin).is_none());
        let look = floors.used(["a", "b"], SLOW, begin);
        assert_eq!(from(&look), [("a", None), ("b", None)]);
        assert!(floors.used(["a", "b"], SLOW, begin).is_none(), "one look at a time");
        assert_eq!(floors.of(&"a"), None, "until it has ended");
        let now = begin + SLOW;
        floors.looked(look.unwrap(), Some(vec![7, 9]), now);
        assert_eq!((floors.of(&"a"), floors.of(&"b"), floors.of(&"c")), (Some(7), Some(9), None));

        assert!(floors.used(["a"], SLOW, now).is_none(), "it is new");
        let later = now + RAISED;
        let look = floors.used(["a", "b"], FAST, later);
        assert_eq!(from(&look), [("a", Some(7)), ("b", Some(9))]);
        floors.looked(look.unwrap(), Some(vec![8, 5]), later + SLOW);
        assert_eq!((floors.of(&"a"), floors.of(&"b")), (Some(8), Some(9)), "it does not sink");

        let later = now + WHOLE;
        let look = floors.used(["a", "b"], FAST, later);
        assert_eq!(from(&look), [("a", None), ("b", None)]);
        floors.looked(look.unwrap(), Some(vec![2, 30]), later + SLOW);
        assert_eq!((floors.of(&"a"), floors.of(&"b")), (Some(2), Some(30)), "it may sink now");
        let later = later + SLOW + WHOLE;
        let look = floors.used(["a"], FAST, later);
        floors.looked(look.unwrap(), Some(vec![2]), later + FAST);
        assert_eq!((floors.of(&"a"), floors.of(&"b")), (None, Some(30)));
    }

    #[test]
    fn whole_looks_are_rare_where_they_take_long() {
        let (floors, begin) = (floors(None), Instant::now());
        let look = floors.used(["a"], FAST, begin).unwrap();
        let (took, now) = (Duration::from_secs(2), begin + Duration::from_secs(2));
        floors.looked(look, Some(vec![1]), now);
        let next = |after: Duration| from(&floors.used(["a"], FAST, now + after));
        assert_eq!(next(took * IDLE - FAST), [("a", Some(1))]);
        floors.looked(Look { from: vec![("a", Some(1))], begin: now }, None, now + FAST);
        assert_eq!(next(took * IDLE), [("a", None)]);
    }

    #[test]
    fn a_failed_look_changes_no_floor_and_is_made_again_later() {
        let (floors, begin) = (floors(None), Instant::now());
        floors.looked(floors.used(["a"], FAST, begin).unwrap(), None, begin);
        assert_eq!(floors.of(&"a"), None);
        floors.looked(floors.used(["a"], FAST, begin).unwrap(), Some(vec![4]), begin);
        let failing = floors.used(["a"], FAST, begin + WHOLE).unwrap();
        assert_eq!(failing.from, [("a", None)]);
        let now = begin + WHOLE + Duration::from_secs(1);
        floors.looked(failing, None, now);
        assert_eq!(floors.of(&"a"), Some(4));
        let next = |after: Duration| from(&floors.used(["a"], FAST, now + after));
        assert!(next(FAST).is_empty());
        assert_eq!(next(RAISED), [("a", Some(4))]);
    }

    #[test]
    fn the_number_of_floors_is_bounded() {
        let (floors, begin) = (Floors::<usize, u32>::new(None), Instant::now());
        let look = floors.used(0..MOST + 5, FAST, begin).unwrap();
        assert_eq!(look.from.len(), MOST);
        floors.looked(look, Some(vec![1; MOST]), begin);
        assert!(floors.used([MOST + 1], FAST, begin).is_none());
    }
}
