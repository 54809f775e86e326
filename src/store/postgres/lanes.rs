//! Connections for lists: one list at a time on each, so that one can be stopped without another.
//!
//! A list is stopped when its time is up and when its caller disconnects. It first gets a short time among the others,
//! and then a longer one, where it delays only other slow lists.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::super::StoreError;
use super::error::{closed, describe};
use super::server::{CONNECTING, Server};
use super::session::{Role, Session};

/// A list that takes longer moves to the lane of slow lists.
const QUICK: Duration = Duration::from_millis(500);
/// The longest time that a list waits for a connection.
const WAITING: Duration = Duration::from_secs(30);
/// The database stops a list itself; after this much more time the connection counts as stuck.
const GRACE: Duration = Duration::from_secs(2);

/// The lanes.
pub(super) struct Lists {
    quick: Lane,
    slow: Lane,
}

/// Connections for lists with the same time limit.
struct Lane {
    server: Arc<Server>,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Arc<Session>>>,
    limit: Duration,
}

/// A running list. Dropping it early stops the list and closes its connection.
struct UnderWay {
    server: Arc<Server>,
    session: Option<Arc<Session>>,
    place: Option<OwnedSemaphorePermit>,
}

impl Lists {
    /// `count` connections for quick lists, and one for lists that take up to `limit`.
    pub(super) fn new(server: &Arc<Server>, count: usize, limit: Duration) -> Self {
        let lane = |count: usize, limit| Lane {
            server: Arc::clone(server),
            places: Arc::new(Semaphore::new(count.max(1))),
            idle: Mutex::default(),
            limit,
        };
        Self { quick: lane(count, QUICK.min(limit)), slow: lane(1, limit) }
    }

    /// Runs a list; a second time if it is slow.
    pub(super) async fn run<T, F>(&self, list: impl Fn(Arc<Session>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        match self.quick.run(&list).await {
            Err(StoreError::TimedOut) => self.slow.run(&list).await,
            done => done,
        }
    }

    /// Drops the connections. Running lists keep theirs until they end.
    pub(super) fn close(&self) {
        for lane in [&self.quick, &self.slow] {
            lane.places.close();
            lane.idle().clear();
        }
    }
}

impl Lane {
    async fn run<T, F>(&self, list: impl Fn(Arc<Session>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let place = timeout(WAITING, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| {
            StoreError::Unavailable(format!("other lists took longer than {WAITING:?}"))
        })?;
        let place = place.map_err(|_| closed())?;
        let session = self.session().await?;
        let server = Arc::clone(&self.server);
        let mut under_way =
            UnderWay { server, session: Some(Arc::clone(&session)), place: Some(place) };
        let done = timeout(self.limit + GRACE, list(session)).await;
        let done = done.map_err(|_| {
            StoreError::Unavailable("the database did not answer in time".to_owned())
        })?;
        if let Some(session) = under_way.session.take().filter(|_| !self.places.is_closed()) {
            self.idle().push(session);
        }
        done
    }

    async fn session(&self) -> Result<Arc<Session>, StoreError> {
        while let Some(session) = { self.idle().pop() } {
            if !session.is_closed() {
                return Ok(session);
            }
        }
        let session = Session::open(&self.server, Role::List, |_| {}).await;
        let session = session.map_err(StoreError::Unavailable)?;
        let limit = format!("SET statement_timeout = {}", self.limit.as_millis().max(1));
        let limited = timeout(CONNECTING, session.client.batch_execute(&limit)).await;
        limited
            .map_err(|_| "the database did not answer in time".to_owned())
            .and_then(|limited| limited.map_err(|error| describe(&error)))
            .map_err(StoreError::Unavailable)?;
        Ok(Arc::new(session))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Session>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let (server, place) = (Arc::clone(&self.server), self.place.take());
        let stopping = async move {
            server.stop(session.client.cancel_token()).await;
            // Only now, because a stopped list that still runs would add to the load of the next ones.
            drop((session, place));
        };
        self.server.tasks.spawn(self.server.cut.clone().run_until_cancelled_owned(stopping));
    }
}
