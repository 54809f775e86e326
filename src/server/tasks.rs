//! The server's tasks, by name.

use std::collections::BTreeMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// Tasks with their names. Dropping this aborts them.
#[derive(Default)]
pub(super) struct Tasks {
    tasks: JoinSet<()>,
    names: BTreeMap<Id, &'static str>,
}

impl Tasks {
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(task);
        self.names.insert(task.id(), name);
    }

    /// Returns the name of the first task that ends; never returns if there is none.
    pub(super) async fn first_to_end(&mut self) -> &'static str {
        match self.next_end().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }

    pub(super) async fn join_all(&mut self) {
        while self.next_end().await.is_some() {}
    }

    pub(super) async fn abort_all(&mut self) {
        self.tasks.shutdown().await;
        self.names.clear();
    }

    /// The names of the tasks that have not ended.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.values().copied()
    }

    async fn next_end(&mut self) -> Option<&'static str> {
        let ended = self.tasks.join_next_with_id().await?;
        let (id, is_panic) = match &ended {
            Ok((id, ())) => (*id, false),
            Err(error) => (error.id(), true),
        };
        let name = self.names.remove(&id).filter(|_| !is_panic);
        Some(name.unwrap_or("task that panicked"))
    }
}
