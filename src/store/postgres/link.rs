//! Connections for reads, shared by many concurrent calls; a broken one is reopened on its next use.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::super::StoreError;
use super::error::closed;
use super::server::Server;
use super::session::{Role, Session};

/// Connections of one role. Requests are sent without waiting for earlier responses.
pub(super) struct Pool {
    links: Vec<Link>,
    next: AtomicUsize,
    /// The longest time of a call.
    limit: Duration,
}

struct Link {
    server: Arc<Server>,
    role: Role,
    session: Mutex<Option<Arc<Session>>>,
}

impl Pool {
    pub(super) fn new(server: &Arc<Server>, role: Role, count: usize, limit: Duration) -> Self {
        let link = || Link { server: Arc::clone(server), role, session: Mutex::default() };
        let links = (0..count.max(1)).map(|_| link()).collect();
        Self { links, next: AtomicUsize::new(0), limit }
    }

    /// Runs `job` on a connection within the time limit.
    pub(super) async fn run<T, F>(
        &self,
        work: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.links.len();
        let Some(link) = self.links.get(next) else { return Err(closed()) };
        let mut used = None;
        let done = async {
            let session = link.session().await?;
            used = Some(Arc::clone(&session));
            work(session).await
        };
        match timeout(self.limit, done).await {
            Ok(done) => done,
            Err(_) => {
                // The server would have stopped a slow statement earlier, so the connection is stuck.
                if let Some(used) = used {
                    link.give_up(&used);
                }
                let limit = self.limit;
                Err(StoreError::Unavailable(format!("the database did not answer in {limit:?}")))
            }
        }
    }

    /// Drops the connections. Running calls keep theirs until they end.
    pub(super) async fn close(&self) {
        for link in &self.links {
            *link.session.lock().await = None;
        }
    }
}

impl Link {
    async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut session = self.session.lock().await;
        if self.server.closing.is_cancelled() {
            return Err(closed());
        }
        if let Some(session) = session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        *session = None;
        let opened = Session::open(&self.server, self.role, |_| {}).await;
        let opened = Arc::new(opened.map_err(StoreError::Unavailable)?);
        Ok(Arc::clone(session.insert(opened)))
    }

    fn give_up(&self, used: &Arc<Session>) {
        // The lock's holder is connecting, or about to notice the failure.
        if let Ok(mut session) = self.session.try_lock()
            && session.as_ref().is_some_and(|session| Arc::ptr_eq(session, used))
        {
            *session = None;
        }
    }
}
