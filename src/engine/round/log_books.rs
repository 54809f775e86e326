//! The log books of running attempts: the kept lines of an operation, and their numbers.
//!
//! A book belongs to one attempt and ends with its lease, because another replica may write between two attempts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;

use super::work::Work;
use crate::operation::log::LogBook;
use crate::operation::{Attempt, Command, Operation, OperationId, Timestamp};
use crate::store::{LogAppend, Store, StoreError};

/// An operation and the attempt that writes.
type Key = (OperationId, Attempt);

#[derive(Debug, Default)]
pub(crate) struct LogBooks {
    books: BTreeMap<Key, LogBook>,
    /// Books read for a report whose attempt may turn out to have ended: then no lease's end closes them.
    unused: BTreeSet<Key>,
    /// Operations whose book cannot be read, until the lease ends.
    damaged: HashSet<OperationId>,
}

impl LogBooks {
    /// Reads the missing books that these works need, all at once. A damaged book affects only its own operation.
    pub(crate) async fn load(
        &mut self,
        works: &[Work],
        store: &Arc<dyn Store>,
    ) -> Result<(), StoreError> {
        for key in std::mem::take(&mut self.unused) {
            self.books.remove(&key);
        }
        let missing: BTreeSet<Key> = works.iter().filter_map(|work| self.missing(work)).collect();
        let reading =
            missing.into_iter().map(|key| async move { (key, store.log_book(key.0).await) });
        for (key, book) in join_all(reading).await {
            let (id, _) = key;
            match book {
                Ok(book) => {
                    self.books.insert(key, book);
                    self.unused.insert(key);
                }
                Err(StoreError::Corrupt(error)) => {
                    tracing::error!(operation.id = %id, error, "a log book is damaged");
                    self.damaged.insert(id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn missing(&self, work: &Work) -> Option<Key> {
        let Work::Apply { apply, .. } = work else { return None };
        let Command::AddLog { reporter } = &apply.command else { return None };
        let key = (apply.id, reporter.attempt);
        let is_here = self.books.contains_key(&key) || self.damaged.contains(&apply.id);
        (!apply.lines.is_empty() && !is_here).then_some(key)
    }

    /// The lines as written under the operation's current attempt; `None` if its book is damaged.
    pub(crate) fn append(
        &mut self,
        operation: &Operation,
        lines: &[String],
        now: Timestamp,
    ) -> Option<LogAppend> {
        let (id, life) = (operation.id(), &operation.life);
        let key = (id, life.attempt);
        let book = self.books.get_mut(&key)?;
        self.unused.remove(&key);
        let appended = book.append(lines.iter().cloned());
        Some(LogAppend {
            id,
            revision: life.revision,
            attempt: life.attempt,
            worker: life.worker.clone(),
            at: now,
            lines: appended.lines,
            keep_from: appended.keep_from,
        })
    }

    /// Drops the book, because the lease has ended or the book may be wrong.
    pub(crate) fn close(&mut self, id: OperationId) {
        let (first, last) = ((id, Attempt(0)), (id, Attempt(u32::MAX)));
        let of_operation: Vec<Key> = self.books.range(first..=last).map(|(key, _)| *key).collect();
        for key in of_operation {
            self.books.remove(&key);
            self.unused.remove(&key);
        }
        self.damaged.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::{at, id, operation};

    fn running(attempt: u32) -> Operation {
        let mut operation = operation(1, at(0));
        operation.life.attempt = Attempt(attempt);
        operation
    }

    fn numbers(append: Option<LogAppend>) -> Option<Vec<u64>> {
        append.map(|append| append.lines.iter().map(|(number, _)| *number).collect())
    }

    #[test]
    fn a_book_serves_its_own_attempt_until_the_lease_ends() {
        let mut books = LogBooks::default();
        books.books.insert((id(1), Attempt(1)), LogBook::new(7, [1]));
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(numbers(books.append(&running(1), &lines, at(1))), Some(vec![8, 9]));
        assert_eq!(numbers(books.append(&running(2), &lines, at(1))), None, "it is of attempt 1");
        books.books.insert((id(1), Attempt(2)), LogBook::new(9, [1]));
        assert_eq!(numbers(books.append(&running(1), &lines, at(1))), Some(vec![10, 11]));
        books.close(id(1));
        assert_eq!(numbers(books.append(&running(1), &lines, at(1))), None);
        assert!(books.books.is_empty());
    }
}
