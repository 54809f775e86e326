//! The store's calls for replicas that share it.

use async_trait::async_trait;
use uuid::Uuid;

use super::super::StoreError;
use super::super::shared::{
    AttemptProgress, Claimed, ExpiredSession, Hint, Lease, Listening, OtherWorker, Outstanding,
    Queues, SharedStore, TakeOver, Topic, Wanted,
};
use super::transaction::Work;
use super::{PostgresStore, claims, error, presence, progress, read, rows, sessions};
use crate::operation::{Event, Kind, OperationId, Revision, TenantId, Timestamp};

#[async_trait]
impl SharedStore for PostgresStore {
    async fn claim(
        &self,
        wanted: Vec<Wanted>,
        except: Vec<OperationId>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        claims::claimed((&self.writer, &self.queues, &self.looks), wanted, &except, now).await
    }

    async fn queues(
        &self,
        kinds: Vec<Kind>,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Queues, StoreError> {
        let floors = self.queues.all();
        self.lookups.run(|session| read::queues(session, kinds, after, limit, floors)).await
    }

    async fn outstanding(&self) -> Result<Vec<Outstanding>, StoreError> {
        self.scans.run(read::outstanding).await
    }

    async fn take_over(&self, take: TakeOver) -> Result<Option<Vec<Lease>>, StoreError> {
        self.writer.roll_back().await?;
        let taken = self.writer.commit(|_, _| {
            let take_over = sessions::take_over(&take, self.replica);
            Work::of(vec![take_over, sessions::leases(take.session)])
        });
        // The caller can retry: it makes no difference whether this one was written.
        let (taken, _) = taken.await.map_err(error::unavailable)?;
        let [found, leases] = taken.as_slice() else { return Ok(None) };
        if found.is_empty() {
            return Ok(None);
        }
        let lease = |row| {
            let id = rows::id(row, 0)?;
            Ok(Lease { id, attempt: rows::attempt(id, row, 1)? })
        };
        leases.iter().map(lease).collect::<Result<_, _>>().map(Some)
    }

    async fn expired(
        &self,
        limit: usize,
        leases: usize,
    ) -> Result<Vec<ExpiredSession>, StoreError> {
        let found = self.writer.query(&[sessions::expired(limit, leases)]).await?;
        let mut expired: Vec<ExpiredSession> = Vec::new();
        for row in found.iter().flatten() {
            let session = rows::session(row, 0)?;
            if expired.last().is_none_or(|last| last.session != session) {
                expired.push(ExpiredSession { session, leases: Vec::new() });
            }
            let id: Option<Uuid> = row.try_get(1)?;
            if let (Some(id), Some(last)) = (id, expired.last_mut()) {
                let id = OperationId::from_uuid(id);
                last.leases.push(Lease { id, attempt: rows::attempt(id, row, 2)? });
            }
        }
        self.writer.found_expired(expired.iter().map(|it| sessions::uuid(it.session))).await;
        Ok(expired)
    }

    async fn transitions(
        &self,
        after: Vec<(OperationId, Revision)>,
        limit: usize,
    ) -> Result<Vec<Vec<Event>>, StoreError> {
        self.lookups.run(|session| read::transitions(session, after, limit)).await
    }

    async fn leave_progress(
        &self,
        news: Vec<AttemptProgress>,
        ended: Vec<OperationId>,
    ) -> Result<(), StoreError> {
        let replica = self.replica;
        if !news.is_empty() && !self.presence.is_alone() {
            self.lookups.run(|session| progress::leave(session, replica, news)).await?;
        }
        if !ended.is_empty() {
            self.lookups.run(|session| progress::take_away(session, replica, ended)).await?;
        }
        Ok(())
    }

    async fn progress(&self, of: Vec<OperationId>) -> Result<Vec<AttemptProgress>, StoreError> {
        if self.presence.is_alone() {
            return Ok(Vec::new());
        }
        let replica = self.replica;
        self.lookups.run(|session| progress::of(session, replica, of)).await
    }

    async fn recent_progress(&self, limit: usize) -> Result<Vec<AttemptProgress>, StoreError> {
        if self.presence.is_alone() {
            return Ok(Vec::new());
        }
        let replica = self.replica;
        self.lookups.run(|session| progress::recent(session, replica, limit)).await
    }

    async fn workers(&self, limit: usize) -> Result<Vec<OtherWorker>, StoreError> {
        let replica = self.replica;
        self.lookups.run(|session| sessions::others(session, replica, limit)).await
    }

    async fn others(&self) -> Result<u64, StoreError> {
        let replica = self.replica;
        self.lookups.run(|session| presence::others(session, replica)).await
    }

    fn listen(&self, topic: Topic) -> Listening {
        self.interest.wish(&topic)
    }

    async fn hint(&self) -> Hint {
        self.hints.next().await
    }
}
