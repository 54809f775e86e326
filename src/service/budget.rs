//! The size limit of responses with many entries: pages of lists and histories, and batch responses.

/// How many entries are read first, while their size is unknown.
const FIRST_READ: usize = 64;

/// The room left in a response, in encoded bytes. gRPC clients refuse messages over 4 MiB by default.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: usize,
    entries: usize,
}

impl Budget {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: 0, entries: 0 }
    }

    /// Takes room for an entry of `bytes`; returns whether there was enough. The first entry always fits, because one
    /// that is too large by itself must be sent too.
    pub fn take(&mut self, bytes: usize) -> bool {
        let fits = self.entries == 0 || self.used.saturating_add(bytes) <= self.limit;
        if fits {
            self.used = self.used.saturating_add(bytes);
            self.entries += 1;
        }
        fits
    }

    /// The number of bytes taken.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Like [`Self::take`], for data that can be omitted, even if it is the first.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        bytes <= self.limit && self.take(bytes)
    }

    /// How many of `wanted` entries to read at once: as many as fit if they are like the earlier ones. Reading all
    /// could take far more memory than the response.
    pub(super) fn next_read(&self, wanted: usize) -> usize {
        let fitting = match self.used.checked_div(self.entries) {
            None => FIRST_READ,
            Some(average) => self.limit.saturating_sub(self.used) / average.max(1) + 1,
        };
        wanted.min(fitting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_always_fits_and_the_others_within_the_limit() {
        let mut budget = Budget::new(10);
        assert!(budget.take(11));
        assert!(!budget.take(1));
        let mut budget = Budget::new(10);
        assert!(!budget.has_room(11) && budget.has_room(10) && budget.has_room(0));
        let mut budget = Budget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert!(budget.take(4), "a smaller one may fit behind one that did not");
        assert!(budget.take(0));
    }

    #[test]
    fn no_more_is_read_than_fits_by_what_is_known() {
        let mut budget = Budget::new(1_000);
        assert_eq!(budget.next_read(1_000), FIRST_READ);
        assert_eq!(budget.next_read(3), 3);
        budget.take(100);
        assert_eq!(budget.next_read(1_000), 10);
        budget.take(900);
        assert_eq!(budget.next_read(1_000), 1);
    }
}
