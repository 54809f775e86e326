//! Memory for large responses: a total limit, and one for each connection.
//!
//! A call reserves memory before it makes such a response, and holds it until the response is sent or dropped. A client
//! that does not read its responses gets no more of them and blocks no other client: a connection has only a share, and
//! is closed if its client reads nothing. The room belongs to the connection, not to the `Caller`; a call finds it by
//! its task.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::turns::Turn;
use super::{Reason, ServiceError};

/// The total size of responses, as encoded for gRPC; while one is made, it may take several times as much memory.
const ALL: usize = 32 << 20;
/// The share of one connection.
const PER_CONNECTION: usize = 6 << 20;
/// How long a call waits for room that other calls hold.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may leave its responses unread: while other calls have room, and while they do not.
const STALLED: Duration = Duration::from_secs(30);
const STALLED_WHILE_SHORT: Duration = Duration::from_secs(3);

tokio::task_local! {
    static CALL: Arc<CallRoom>;
}

/// Memory for the responses of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AnswerRoom {
    all: Arc<Semaphore>,
}

impl Default for AnswerRoom {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL >> 10)) }
    }
}

/// A connection's share.
#[derive(Debug)]
pub struct ConnectionRoom {
    all: AnswerRoom,
    own: Arc<Semaphore>,
    /// Responses that are made but not sent.
    unread: AtomicUsize,
    /// When the client last read something, or a response was made.
    moved_at: Mutex<Instant>,
}

/// The room that a call holds.
#[derive(Debug)]
pub struct CallRoom {
    connection: Arc<ConnectionRoom>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    permits: Vec<OwnedSemaphorePermit>,
    /// Its tenant's turn, until the response is made.
    turn: Option<Turn>,
    /// Whether the response is made.
    is_made: bool,
}

impl AnswerRoom {
    /// The share of a connection.
    pub fn connection(&self) -> Arc<ConnectionRoom> {
        Arc::new(ConnectionRoom {
            all: self.clone(),
            own: Arc::new(Semaphore::new(PER_CONNECTION >> 10)),
            unread: AtomicUsize::new(0),
            moved_at: Mutex::new(Instant::now()),
        })
    }
}

impl ConnectionRoom {
    /// The room of a call over the connection.
    pub fn call(self: &Arc<Self>) -> Arc<CallRoom> {
        Arc::new(CallRoom { connection: Arc::clone(self), taken: Mutex::default() })
    }

    /// Whether the client has read nothing of its responses for too long.
    pub fn is_stalled(&self) -> bool {
        if self.unread.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let is_short = self.all.all.available_permits() < PER_CONNECTION >> 10;
        let patience = if is_short { STALLED_WHILE_SHORT } else { STALLED };
        self.moved_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= patience
    }
}

impl CallRoom {
    /// Runs `making`, which finds its room through its task.
    pub async fn answer<F: Future>(self: &Arc<Self>, making: F) -> F::Output {
        CALL.scope(Arc::clone(self), making).await
    }

    /// Notes that the response is made and waits for its client.
    pub fn made(&self) {
        let mut taken = self.taken();
        taken.turn = None;
        if !taken.permits.is_empty() && !taken.is_made {
            taken.is_made = true;
            self.connection.unread.fetch_add(1, Ordering::Relaxed);
            drop(taken);
            self.moved();
        }
    }

    /// Notes that the client has read something.
    pub fn moved(&self) {
        let mut moved_at = self.connection.moved_at.lock().unwrap_or_else(PoisonError::into_inner);
        *moved_at = Instant::now();
    }

    /// Releases the room, because the response was sent or dropped.
    pub fn give_back(&self) {
        let taken = std::mem::take(&mut *self.taken());
        if taken.is_made {
            self.connection.unread.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(
        &self,
        bytes: usize,
        turn: impl Future<Output = Turn>,
    ) -> Result<(), ServiceError> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10).min(PER_CONNECTION >> 10));
        let kib = kib.unwrap_or(u32::MAX);
        let full = |what: &str, limit: usize| ServiceError {
            retry_after: Some(Duration::from_secs(1)),
            ..ServiceError::new(
                Reason::ResourceExhausted,
                format!("{what} use all of the {} MiB that they may use", limit >> 20),
            )
        };
        // Waits as long as the client leaves its other responses unread; nobody else waits for it.
        let own = Arc::clone(&self.connection.own).acquire_many_owned(kib).await;
        self.take_turn(turn).await;
        let all = Arc::clone(&self.connection.all.all).acquire_many_owned(kib);
        let (Ok(own), Ok(Ok(all))) = (own, timeout(PATIENCE, all).await) else {
            return Err(full("responses that clients have not read yet", ALL));
        };
        self.taken().permits.extend([own, all]);
        Ok(())
    }

    async fn take_turn(&self, turn: impl Future<Output = Turn>) {
        // A call that reads several times must not wait for itself.
        if self.taken().turn.is_none() {
            let turn = turn.await;
            self.taken().turn = Some(turn);
        }
    }
}

/// Waits for room for a response of up to `bytes`, and for `turn`, which lasts until the response is made. A call without
/// a connection is not limited.
pub(super) async fn take(
    bytes: usize,
    turn: impl Future<Output = Turn>,
) -> Result<(), ServiceError> {
    match CALL.try_with(Arc::clone) {
        Ok(call) => call.take(bytes, turn).await,
        Err(_) => Ok(()),
    }
}

/// Waits for `turn`, which lasts until the response is made. A call without a connection is not limited.
pub(super) async fn take_turn(turn: impl Future<Output = Turn>) {
    if let Ok(call) = CALL.try_with(Arc::clone) {
        call.take_turn(turn).await;
    }
}

/// Releases room beyond `bytes`, because the response is no larger.
pub(super) fn keep(bytes: usize) {
    let Ok(call) = CALL.try_with(Arc::clone) else { return };
    let kib = bytes.div_ceil(1 << 10);
    for permit in call.taken().permits.iter_mut() {
        let spare = permit.num_permits().saturating_sub(kib);
        drop(permit.split(spare));
    }
}

#[cfg(test)]
mod tests {
    use super::super::turns::Turns;
    use super::*;
    use crate::operation::TenantId;

    #[tokio::test]
    async fn a_call_that_reads_several_times_has_one_turn_until_its_response_is_made() {
        let (turns, tenant) = (Turns::new(1), TenantId::parse("a").unwrap());
        let connection = AnswerRoom::default().connection();
        let [first, second] = [connection.call(), connection.call()];
        let reading = || async {
            take(1_000, turns.take(&tenant)).await.unwrap();
            take(1_000, turns.take(&tenant)).await.unwrap();
            take_turn(turns.take(&tenant)).await;
        };
        first.answer(reading()).await;
        let mut waiting = Box::pin(second.answer(reading()));
        assert!(
            timeout(Duration::ZERO, &mut waiting).await.is_err(),
            "it is the first call's turn"
        );
        first.made();
        waiting.await;
    }
}
