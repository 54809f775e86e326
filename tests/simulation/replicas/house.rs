//! What replicas share beside the disk: sessions as rows, what is kept from whom, and who is there to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use longrun::engine::{Clock as _, Moment};
use longrun::operation::{Kind, OperationId, Scope, SessionId, State, TenantId, Timestamp};
use longrun::store::log::Stamp;
use longrun::store::shared::{
    AttemptProgress, Claimed, ExpiredSession, Hint, Lease, Outstanding, Queues, TakeOver, Topic,
    Wanted,
};
use longrun::store::{Batch, Lookup, Place, StoreError};

use super::mailbox::Mailbox;
use super::store::ReplicaStore;
use crate::clock::{SimClock, TICK};
use crate::disk::Disk;
use crate::store::{Lie, SimStore};

/// After so many ticks a replica that has not committed holds nothing any more.
const HELD_FOR: u32 = 100;

/// One replica, from its start to its end.
pub type ReplicaId = u64;

/// Everything that replicas share. Clones are the same.
#[derive(Clone)]
pub struct House {
    pub disk: Arc<Mutex<Disk>>,
    clock: Arc<SimClock>,
    hall: Arc<Mutex<Hall>>,
}

struct Hall {
    sessions: BTreeMap<SessionId, Row>,
    present: BTreeMap<ReplicaId, Present>,
    progress: BTreeMap<OperationId, (ReplicaId, AttemptProgress)>,
    last: ReplicaId,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Row {
    pub scope: Scope,
    pub owner: ReplicaId,
    /// By the store's own clock, which nobody sets.
    pub expires_at: Moment,
}

struct Present {
    mailbox: Mailbox,
    held: Held,
}

/// What is kept from others.
#[derive(Default)]
struct Held {
    operations: BTreeSet<OperationId>,
    sessions: BTreeSet<SessionId>,
    since: Option<Moment>,
    /// Something was looked for since the last commit, which must follow.
    is_open: bool,
    /// It was given to others meanwhile.
    is_lost: bool,
}

impl House {
    pub fn new(clock: Arc<SimClock>) -> Self {
        let hall = Hall {
            sessions: BTreeMap::new(),
            present: BTreeMap::new(),
            progress: BTreeMap::new(),
            last: 0,
        };
        Self { disk: Arc::default(), clock, hall: Arc::new(Mutex::new(hall)) }
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap()
    }

    /// A new replica's way to it.
    pub fn open(&self, mut rng: fastrand::Rng) -> ReplicaStore {
        let mailbox = Mailbox::new(Arc::clone(&self.clock), rng.fork());
        let id = {
            let mut hall = self.hall();
            hall.last += 1;
            let id = hall.last;
            hall.present.insert(id, Present { mailbox: mailbox.clone(), held: Held::default() });
            id
        };
        let house = self.clone();
        let landing =
            move |disk: &mut Disk, batch: &Batch, stamp| house.land(id, disk, batch, stamp);
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        let store = SimStore::over(disk, Box::new(landing), clock, Lie::None, rng);
        ReplicaStore::new(id, store, mailbox, self.clone())
    }

    /// A replica is gone.
    pub fn leave(&self, id: ReplicaId) {
        self.hall().present.remove(&id);
    }

    /// The rows of sessions.
    pub fn sessions(&self) -> BTreeMap<SessionId, Row> {
        self.hall().sessions.clone()
    }

    /// Lets go of what a replica keeps from others.
    pub fn release(&self, id: ReplicaId) {
        if let Some(present) = self.hall().present.get_mut(&id) {
            present.held = Held::default();
        }
    }

    /// The replica looks for something that is to be kept from others.
    pub fn begin(&self, id: ReplicaId) {
        if let Some(present) = self.hall().present.get_mut(&id) {
            present.held.is_open = true;
        }
    }

    /// Whether a commit of the replica must follow on what it has looked for.
    pub fn is_open(&self, id: ReplicaId) -> bool {
        self.hall().present.get(&id).is_some_and(|present| present.held.is_open)
    }

    /// Whether what the replica kept from others was given to them; asked once.
    pub fn has_lost_hold(&self, id: ReplicaId) -> bool {
        self.let_go_of_old();
        let mut hall = self.hall();
        let Some(present) = hall.present.get_mut(&id) else { return true };
        let is_lost = present.held.is_lost;
        present.held.is_lost = false;
        is_lost
    }

    /// Whether another replica has found one of these sessions expired, and has not committed yet.
    pub fn is_held_by_others(&self, id: ReplicaId, sessions: &[SessionId]) -> bool {
        self.let_go_of_old();
        self.hall().holds(id, sessions)
    }

    fn let_go_of_old(&self) {
        let now = self.clock.moment();
        for present in self.hall().present.values_mut() {
            if present.held.since.is_some_and(|since| since.after(TICK * HELD_FOR) <= now) {
                present.held = Held { is_lost: true, ..Held::default() };
            }
        }
    }

    /// Queued operations that may start.
    pub fn claim(
        &self,
        id: ReplicaId,
        disk: &Disk,
        wanted: &[Wanted],
        except: &[OperationId],
        now: Timestamp,
    ) -> Claimed {
        self.let_go_of_old();
        let mut hall = self.hall();
        let mut claimed = Claimed::default();
        for Wanted { tenant, kind, limit, .. } in wanted {
            let mut queued = Vec::new();
            for it in disk.unfinished(None, usize::MAX) {
                let Place::Queued { not_before } = it.place else { continue };
                if it.tenant != *tenant || it.kind != *kind || except.contains(&it.id) {
                    continue;
                }
                if not_before > now {
                    let next = claimed.next_at.unwrap_or(not_before).min(not_before);
                    claimed.next_at = Some(next);
                } else if !hall.keeps_from(id, |held| held.operations.contains(&it.id)) {
                    queued.push((std::cmp::Reverse(it.priority), it.id));
                }
            }
            queued.sort_unstable();
            for (_, found) in queued.into_iter().take(*limit) {
                hall.hold(id, self.clock.moment(), |held| held.operations.insert(found));
                claimed.operations.extend(disk.load(&Lookup::Id(found)));
            }
        }
        claimed
    }

    /// Operations whose time has come.
    pub fn due(
        &self,
        id: ReplicaId,
        disk: &Disk,
        now: Timestamp,
        limit: usize,
    ) -> Vec<OperationId> {
        self.let_go_of_old();
        let mut hall = self.hall();
        let mut due = disk.due(now, usize::MAX);
        due.retain(|found| !hall.keeps_from(id, |held| held.operations.contains(found)));
        due.truncate(limit);
        for found in &due {
            hall.hold(id, self.clock.moment(), |held| held.operations.insert(*found));
        }
        due
    }

    /// Sessions that nobody has kept.
    pub fn expired(
        &self,
        id: ReplicaId,
        disk: &Disk,
        limit: usize,
        leases: usize,
    ) -> Vec<ExpiredSession> {
        self.let_go_of_old();
        let now = self.clock.moment();
        let mut hall = self.hall();
        let rows = hall.sessions.iter().filter(|(_, row)| row.expires_at <= now);
        let mut gone: Vec<(Moment, SessionId)> =
            rows.map(|(session, row)| (row.expires_at, *session)).collect();
        gone.sort_unstable();
        gone.retain(|(_, gone)| !hall.keeps_from(id, |held| held.sessions.contains(gone)));
        gone.truncate(limit);
        for (_, session) in &gone {
            hall.hold(id, self.clock.moment(), |held| held.sessions.insert(*session));
        }
        let expired = gone.into_iter().map(|(_, session)| ExpiredSession {
            session,
            leases: leases_of(disk, session).into_iter().take(leases).collect(),
        });
        expired.collect()
    }

    /// Makes a session that replica's.
    pub fn take_over(&self, id: ReplicaId, disk: &Disk, take: &TakeOver) -> Option<Vec<Lease>> {
        let mut hall = self.hall();
        let row = hall
            .sessions
            .get_mut(&take.session)
            .filter(|row| take.scope == Scope::All || row.scope == take.scope)?;
        let before = row.owner;
        (row.owner, row.expires_at) = (id, self.clock.moment().after(take.lease));
        if before != id
            && let Some(present) = hall.present.get(&before)
        {
            present.mailbox.send(None, Hint::TakenOver(vec![take.session]));
        }
        Some(leases_of(disk, take.session))
    }

    /// What a replica says of attempts that report to it.
    pub fn leave_progress(&self, id: ReplicaId, news: Vec<AttemptProgress>, ended: &[OperationId]) {
        let mut hall = self.hall();
        for left in news {
            let of = |it: &AttemptProgress| (it.attempt, it.progress.at);
            let before = hall.progress.get(&left.id);
            if before.is_none_or(|(_, before)| of(before) <= of(&left)) {
                hall.progress.insert(left.id, (id, left));
            }
        }
        hall.progress.retain(|of, (owner, _)| *owner != id || !ended.contains(of));
    }

    /// Progress is not kept for long.
    pub fn forget_progress(&self) {
        self.hall().progress.clear();
    }

    pub fn progress_of_others(&self, id: ReplicaId) -> Vec<AttemptProgress> {
        let hall = self.hall();
        let others = hall.progress.values().filter(|(owner, _)| *owner != id);
        others.map(|(_, left)| left.clone()).collect()
    }

    /// The instant of a commit.
    fn land(
        &self,
        id: ReplicaId,
        disk: &mut Disk,
        batch: &Batch,
        stamp: Stamp,
    ) -> Result<(), StoreError> {
        let mut hall = self.hall();
        let changes = &batch.sessions;
        let kept: Vec<SessionId> = changes.kept.iter().map(|kept| kept.session).collect();
        let owner = |session: &SessionId| hall.sessions.get(session).map(|row| row.owner);
        let mut taken: Vec<SessionId> = Vec::new();
        taken.extend(kept.iter().filter(|it| owner(it).is_some_and(|owner| owner != id)));
        let used = changes.used.iter();
        taken.extend(used.filter(|it| !kept.contains(it) && owner(it) != Some(id)));
        if !taken.is_empty() {
            return Err(StoreError::SessionsTaken(taken));
        }
        if hall.holds(id, &kept) || hall.holds(id, &changes.used) {
            // As after a lock that was waited for too long.
            return Err(StoreError::Locked(Vec::new()));
        }
        let conflicts = disk.conflicts(batch);
        if !conflicts.is_empty() {
            return Err(StoreError::Conflict(conflicts));
        }
        disk.commit(batch, stamp)?;
        for kept in &changes.kept {
            let (scope, expires_at) = (kept.scope.clone(), self.clock.moment().after(kept.lease));
            hall.sessions.insert(kept.session, Row { scope, owner: id, expires_at });
        }
        for ended in &changes.ended {
            let is_ours = hall.sessions.get(ended).is_some_and(|row| row.owner == id);
            let is_found = hall.present.get(&id).is_some_and(|it| it.held.sessions.contains(ended));
            if (is_ours || is_found) && leases_of(disk, *ended).is_empty() {
                hall.sessions.remove(ended);
            }
        }
        if let Some(present) = hall.present.get_mut(&id) {
            present.held = Held::default();
        }
        hall.tell(id, batch);
        Ok(())
    }
}

impl Hall {
    /// Whether somebody but that replica keeps something from others.
    fn keeps_from(&self, id: ReplicaId, keeps: impl Fn(&Held) -> bool) -> bool {
        self.present.iter().any(|(other, present)| *other != id && keeps(&present.held))
    }

    fn holds(&self, id: ReplicaId, sessions: &[SessionId]) -> bool {
        self.keeps_from(id, |held| sessions.iter().any(|session| held.sessions.contains(session)))
    }

    fn hold(&mut self, id: ReplicaId, now: Moment, add: impl FnOnce(&mut Held) -> bool) {
        if let Some(present) = self.present.get_mut(&id) {
            add(&mut present.held);
            present.held.since = present.held.since.or(Some(now));
        }
    }

    /// Tells all others what that replica has committed.
    fn tell(&self, id: ReplicaId, batch: &Batch) {
        let mut changed: BTreeSet<OperationId> =
            batch.removals.iter().map(|removal| removal.id).collect();
        let mut queues = Vec::new();
        for write in &batch.writes {
            let operation = &write.operation;
            changed.insert(operation.id());
            if matches!(operation.life.state, State::Queued { .. }) {
                let submission = &operation.submission;
                queues.push(Topic::Queue(submission.tenant.clone(), submission.kind.clone()));
            }
        }
        let changed: Vec<OperationId> = changed.into_iter().collect();
        for (_, present) in self.present.iter().filter(|(other, _)| **other != id) {
            present.mailbox.changed(&changed);
            present.mailbox.queued(queues.iter());
        }
        let mut told: BTreeMap<ReplicaId, Vec<OperationId>> = BTreeMap::new();
        for (session, operation) in &batch.sessions.told {
            let Some(row) = self.sessions.get(session) else { continue };
            if row.owner != id {
                told.entry(row.owner).or_default().push(*operation);
            }
        }
        for (owner, operations) in told {
            if let Some(present) = self.present.get(&owner) {
                present.mailbox.send(None, Hint::Leases(operations));
            }
        }
    }
}

/// In which queues something is queued.
pub fn queues(disk: &Disk, kinds: &[Kind], after: Option<&TenantId>, limit: usize) -> Queues {
    let unfinished = disk.unfinished(None, usize::MAX).into_iter();
    let queued = unfinished.filter(|it| matches!(it.place, Place::Queued { .. }));
    let mut tenants: BTreeMap<TenantId, BTreeSet<Kind>> = BTreeMap::new();
    for it in queued {
        tenants.entry(it.tenant).or_default().insert(it.kind);
    }
    let mut queues = Queues::default();
    let behind = tenants.into_iter().filter(|(it, _)| after.is_none_or(|after| it > after));
    for (number, (tenant, of)) in behind.take(limit).enumerate() {
        let wanted = of.into_iter().filter(|kind| kinds.contains(kind));
        queues.found.extend(wanted.map(|kind| (tenant.clone(), kind)));
        queues.last = (number + 1 == limit).then_some(tenant);
    }
    queues
}

/// How many operations are not done.
pub fn outstanding(disk: &Disk) -> Vec<Outstanding> {
    let mut counts = BTreeMap::new();
    for it in disk.unfinished(None, usize::MAX) {
        let (count, running) = counts.entry((it.tenant, it.kind)).or_insert((0, 0));
        *count += 1;
        *running += u64::from(matches!(it.place, Place::Leased { .. }));
    }
    let counts = counts.into_iter();
    let of = |((tenant, kind), (count, running))| Outstanding { tenant, kind, count, running };
    counts.map(of).collect()
}

/// What a session holds.
pub fn leases_of(disk: &Disk, of: SessionId) -> Vec<Lease> {
    let held = disk.unfinished(None, usize::MAX).into_iter().filter_map(|it| match it.place {
        Place::Leased { session, attempt, .. } if session == of => {
            Some(Lease { id: it.id, attempt })
        }
        _ => None,
    });
    held.collect()
}
