//! The server's tasks, by name.

use std::future::Future;

use tokio::task::JoinSet;

/// Tasks with their names. Dropping them ends them.
#[derive(Default)]
pub(super) struct Tasks(JoinSet<&'static str>);

impl Tasks {
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// The name of the first task that ends; never, when there is none.
    pub(super) async fn first_to_end(&mut self) -> &'static str {
        match self.0.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "task that panicked",
            None => std::future::pending().await,
        }
    }

    pub(super) async fn join_all(&mut self) {
        while self.0.join_next().await.is_some() {}
    }

    pub(super) async fn abort_all(&mut self) {
        self.0.shutdown().await;
    }
}
