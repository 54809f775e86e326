//! A draft's effects, for what follows its commit.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{Draft, Known};
use crate::operation::{Operation, OperationId, Revision, SessionId};
use crate::store::LogAppend;

impl Draft {
    /// The changed operations as of this draft, with new inputs and results.
    pub(crate) fn changed(
        &self,
    ) -> impl Iterator<Item = (Arc<Operation>, Option<Bytes>, Option<Bytes>)> + '_ {
        self.known.values().filter_map(|known| {
            let current = Arc::clone(known.current.as_ref()?);
            Some((current, known.input.clone(), known.result.clone()))
        })
    }

    /// The operations that the commit changes or removes, as they were before it.
    pub(crate) fn replaced(&self) -> impl Iterator<Item = &Arc<Operation>> {
        let revision = |operation: &Arc<Operation>| operation.life.revision;
        let is_changed = move |known: &Known| {
            known.stored.as_ref().map(revision) != known.current.as_ref().map(revision)
        };
        self.known.values().filter(move |it| is_changed(it)).filter_map(|it| it.stored.as_ref())
    }

    /// Every operation to write, with its stored revision.
    pub(crate) fn written(&self) -> impl Iterator<Item = (OperationId, Option<Revision>)> + '_ {
        let revision = |operation: &Arc<Operation>| operation.life.revision;
        let logged: HashSet<OperationId> = self.with_lines().collect();
        self.known.iter().filter_map(move |(id, known)| {
            let stored = known.stored.as_ref().map(revision);
            let is_changed = stored != known.current.as_ref().map(revision);
            (is_changed || logged.contains(id)).then_some((*id, stored))
        })
    }

    /// Every operation that the draft touched.
    pub(crate) fn touched(&self) -> impl Iterator<Item = OperationId> + '_ {
        self.known.keys().copied()
    }

    /// The operations with log lines to write.
    pub(crate) fn with_lines(&self) -> impl Iterator<Item = OperationId> + '_ {
        self.logs.iter().map(|append| append.id)
    }

    /// The sessions under whose leases log lines are written.
    pub(crate) fn logging_sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        let session = |append: &LogAppend| {
            let stored = self.stored(append.id)?;
            stored.life.state.lease().map(|lease| lease.session)
        };
        self.logs.iter().filter_map(session)
    }
}
