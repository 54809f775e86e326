//! Copies leases. If the destination has sessions as rows, leases need their sessions' rows: otherwise an operation
//! without a session would be leased forever.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Side, TransferError};
use crate::operation::{Operation, Scope, SessionId};
use crate::store::Batch;
use crate::store::shared::{KeptSession, SessionChanges, TakeOver};

/// How many sessions one commit renews.
const SESSIONS: usize = 1_000;

/// The sessions that hold leases.
pub(super) struct Leases<'a> {
    to: &'a Side,
    duration: Duration,
    sessions: HashMap<SessionId, KeptSession>,
}

impl<'a> Leases<'a> {
    pub(super) fn new(to: &'a Side, duration: Duration) -> Self {
        Self { to, duration, sessions: HashMap::new() }
    }

    /// Ensures that the session of a leased operation exists when the batch with the operation is committed.
    pub(super) async fn keep(
        &mut self,
        operation: &Operation,
        is_new: bool,
        changes: &mut SessionChanges,
    ) -> Result<(), TransferError> {
        let life = &operation.life;
        let (Some(shared), Some(lease)) = (self.to.store.shared(), life.state.lease()) else {
            return Ok(());
        };
        let Some(worker) = &life.worker else { return Ok(()) };
        let (session, lease) = (lease.session, lease.session.lease(self.duration));
        if !self.sessions.contains_key(&session) {
            let scope = Scope::from(operation.submission.tenant.clone());
            // Its kinds are known once its worker returns.
            let (worker, kinds) = (worker.clone(), Arc::from([]));
            let kept =
                KeptSession { session, scope: scope.clone(), worker, kinds, places: 0, lease };
            // An earlier copy may have left it.
            let take = TakeOver { session, scope, lease };
            if shared.take_over(take).await.map_err(self.to.failed())?.is_none() {
                changes.kept.push(kept.clone());
            }
            self.sessions.insert(session, kept);
        }
        if is_new && !changes.used.contains(&session) {
            changes.used.push(session);
        }
        Ok(())
    }

    /// Gives all sessions the full time to resume.
    pub(super) async fn renew(mut self) -> Result<(), TransferError> {
        let sessions: Vec<KeptSession> = self.sessions.drain().map(|(_, kept)| kept).collect();
        for kept in sessions.chunks(SESSIONS) {
            let sessions = SessionChanges { kept: kept.to_vec(), ..SessionChanges::default() };
            self.to.commit(Batch { sessions, ..Batch::default() }).await?;
        }
        Ok(())
    }
}
