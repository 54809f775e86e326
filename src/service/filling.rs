//! A page of a list while it is filled: as many entries as were asked for, and as fit into a response.

use super::page::PageRequest;
use super::{Budget, Caller, Service, ServiceError, room};

/// A page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The entries on the page.
    pub entries: Vec<T>,
    /// The token of the next page; empty on the last one.
    pub next_page_token: String,
}

/// A page that is not complete.
pub(super) struct Filling<T> {
    asked: PageRequest,
    is_unsent: bool,
    entries: Vec<T>,
    budget: Budget,
    /// Once the page is complete: whether there are more entries behind it.
    more: Option<bool>,
}

impl Service {
    /// Begins a page. Takes room of the caller's connection for it, unless it `is_unsent`.
    pub(super) async fn begin_page<T>(
        &self,
        caller: &Caller,
        asked: PageRequest,
        is_unsent: bool,
    ) -> Result<Filling<T>, ServiceError> {
        let bytes = self.limits.page_bytes;
        if !is_unsent {
            room::take(bytes, self.turns.take(&caller.tenant)).await?;
        }
        let budget = Budget::new(bytes);
        Ok(Filling { asked, is_unsent, entries: Vec::new(), budget, more: None })
    }
}

impl<T> Filling<T> {
    /// How many entries to read next; `None` if the page is complete.
    pub(super) fn next_read(&self) -> Option<usize> {
        let left = self.asked.limit - self.entries.len();
        self.more.is_none().then(|| self.budget.next_read(left))
    }

    /// Adds an entry of `bytes`; returns false if there is no room for it, and the page is complete without it.
    pub(super) fn add(&mut self, entry: T, bytes: usize) -> bool {
        let fits = self.budget.take(bytes);
        if fits {
            self.entries.push(entry);
        } else {
            self.more = Some(true);
        }
        fits
    }

    /// Notes that the entries of a read were added, and whether none are behind them.
    pub(super) fn added(&mut self, is_last: bool) {
        if self.more.is_none() && (is_last || self.entries.len() >= self.asked.limit) {
            self.more = Some(!is_last);
        }
    }

    /// The complete page. `position` is that of its last entry.
    pub(super) fn end(self, position: impl FnOnce(&T) -> [u8; 24]) -> Page<T> {
        if !self.is_unsent {
            room::keep(self.budget.used());
        }
        let last = self.entries.last().filter(|_| self.more == Some(true));
        let next_page_token = last.map(|last| self.asked.token(position(last)));
        Page { next_page_token: next_page_token.unwrap_or_default(), entries: self.entries }
    }
}
