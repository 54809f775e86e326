//! The log books of running attempts: how many lines an operation has kept, and their numbers.
//!
//! A book belongs to one attempt and ends with its lease: between two attempts another replica may have written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;

use super::work::Work;
use crate::operation::log::LogBook;
use crate::operation::{Attempt, Command, Operation, OperationId, Timestamp};
use crate::store::{LogAppend, Store, StoreError};

#[derive(Debug, Default)]
pub(crate) struct LogBooks {
    books: HashMap<OperationId, (Attempt, LogBook)>,
    /// Those that cannot be read, until the lease ends.
    damaged: HashSet<OperationId>,
}

impl LogBooks {
    /// Reads the books that these works need and which are not here, all at once. One that is damaged is its
    /// operation's concern.
    pub(crate) async fn load(
        &mut self,
        works: &[Work],
        store: &Arc<dyn Store>,
    ) -> Result<(), StoreError> {
        let mut missing: Vec<(OperationId, Attempt)> =
            works.iter().filter_map(|work| self.missing(work)).collect();
        missing.sort_unstable();
        missing.dedup();
        let reading = missing
            .into_iter()
            .map(|(id, attempt)| async move { (id, attempt, store.log_book(id).await) });
        for (id, attempt, book) in join_all(reading).await {
            match book {
                Ok(book) => {
                    self.books.insert(id, (attempt, book));
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

    fn missing(&self, work: &Work) -> Option<(OperationId, Attempt)> {
        let Work::Apply { apply, .. } = work else { return None };
        let Command::AddLog { reporter } = &apply.command else { return None };
        let attempt = reporter.attempt;
        let is_here = self.books.get(&apply.id).is_some_and(|(of, _)| *of == attempt);
        let is_wanted = !apply.lines.is_empty() && !is_here && !self.damaged.contains(&apply.id);
        is_wanted.then_some((apply.id, attempt))
    }

    /// The lines as they are to be written under the operation's current attempt; `None` where its book is
    /// damaged.
    pub(crate) fn append(
        &mut self,
        operation: &Operation,
        lines: &[String],
        now: Timestamp,
    ) -> Option<LogAppend> {
        let (id, life) = (operation.id(), &operation.life);
        let (of, book) = self.books.get_mut(&id)?;
        if *of != life.attempt {
            return None;
        }
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

    /// The lease has ended, or what is known of the lines may be wrong.
    pub(crate) fn close(&mut self, id: OperationId) {
        self.books.remove(&id);
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
        books.books.insert(id(1), (Attempt(1), LogBook::new(7, [1])));
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(numbers(books.append(&running(1), &lines, at(1))), Some(vec![8, 9]));
        assert_eq!(numbers(books.append(&running(2), &lines, at(1))), None, "it is of attempt 1");
        books.close(id(1));
        assert_eq!(numbers(books.append(&running(1), &lines, at(1))), None);
        assert!(books.books.is_empty());
    }
}
