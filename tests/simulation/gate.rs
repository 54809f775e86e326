//! Holds up everything that a replica does, for as long as it is shut: the process does not run.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

#[derive(Debug, Default)]
pub struct Gate {
    is_shut: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    pub fn is_shut(&self) -> bool {
        self.is_shut.get()
    }

    pub fn shut(&self) {
        self.is_shut.set(true);
    }

    pub fn open(&self) {
        self.is_shut.set(false);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Does what `work` does, while the gate is open.
    pub async fn pass<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.is_shut.get() {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            work.as_mut().poll(context)
        })
        .await
    }
}
