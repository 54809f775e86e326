//! Commits: what becomes of them, under which names, and how the doubt about one ends.

use std::sync::Arc;

use longrun::engine::Moment;
use longrun::store::log::Stamp;
use longrun::store::{Batch, StoreError};

use super::{Lie, State, Weather};

/// A commit whose outcome was not told.
#[derive(Clone)]
pub(super) enum Pending {
    /// In the log, behind its end: the next write takes its place, a crash may bring it back.
    InLog(Batch, Stamp),
    /// Under way, seen by nobody, as one that waits for a standby: it comes to be or not, before its name can be
    /// claimed.
    UnderWay(Batch, Stamp),
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    Conflict,
    UnknownDone,
    UnknownLost,
    UnknownInLog,
    UnknownUnderWay,
}

impl State {
    fn fate(&mut self, batch: &Batch) -> Fate {
        let is_race = !batch.writes.is_empty();
        match (self.weather, self.rng.u32(..100)) {
            (Weather::Still, _) => Fate::Done,
            (Weather::Mute, _) => Fate::UnknownDone,
            (Weather::Calm, 0..2) | (Weather::Slow, 0..20) if is_race => Fate::Conflict,
            (Weather::Calm | Weather::Slow, _) => Fate::Done,
            (Weather::ReadOnly | Weather::Down, 0..80) => Fate::Refused,
            (Weather::ReadOnly | Weather::Down, 80..90) => Fate::UnknownLost,
            (Weather::ReadOnly | Weather::Down, _) => Fate::UnknownInLog,
            (Weather::Flaky, 0..10) => Fate::Refused,
            (Weather::Flaky, 10..18) if is_race => Fate::Conflict,
            (Weather::Flaky, 18..26) => Fate::UnknownDone,
            (Weather::Flaky, 26..32) => Fate::UnknownLost,
            (Weather::Flaky, 32..38) => Fate::UnknownInLog,
            (Weather::Flaky, 38..46) => Fate::UnknownUnderWay,
            (Weather::Flaky, _) => Fate::Done,
        }
    }

    pub(super) fn commit(&mut self, mut batch: Batch) -> Result<Option<Stamp>, StoreError> {
        let stamp = self.connect().next();
        let committed = batch.is_logged().then_some(stamp);
        if let Some(locked) = self.locked
            && batch.writes.iter().any(|write| write.operation.id() == locked)
        {
            self.waits += 1;
            return Err(StoreError::Locked(vec![locked]));
        }
        let unknown = || StoreError::Unknown("the answer was lost".to_owned());
        let fate = self.fate(&batch);
        match fate {
            Fate::Refused => {
                self.failures += 1;
                if self.lie == Lie::DeniesWrites {
                    self.write(&batch, stamp)?;
                }
                return Err(StoreError::Unavailable("no room in this weather".to_owned()));
            }
            Fate::Conflict => {
                let at = self.rng.usize(..batch.writes.len());
                return Err(StoreError::Conflict(vec![batch.writes[at].operation.id()]));
            }
            Fate::Done | Fate::UnknownDone => {
                let seldom = self.rng.u32(..15) == 0;
                if self.lie == Lie::Forgets && seldom {
                    return Ok(committed);
                }
                if self.lie == Lie::LosesKeys {
                    for write in &mut batch.writes {
                        Arc::make_mut(&mut write.operation.submission).idempotency = None;
                    }
                }
                self.write(&batch, stamp)?;
                if self.lie == Lie::DropsEvents
                    && seldom
                    && let Some((id, _)) = batch.events.last()
                {
                    self.disk().drop_last_event(*id);
                }
                if fate == Fate::Done {
                    return Ok(committed);
                }
            }
            Fate::UnknownLost => {}
            Fate::UnknownInLog if !self.is_shared => {
                self.pending = Some(Pending::InLog(batch, stamp));
            }
            Fate::UnknownInLog | Fate::UnknownUnderWay => {
                self.pending = Some(Pending::UnderWay(batch, stamp));
            }
        }
        self.unknowns += 1;
        self.claims_to_fail = self.rng.u32(..4);
        self.in_doubt = Some(stamp);
        if self.is_shared {
            // With the connection.
            self.last = None;
        }
        Err(unknown())
    }

    /// The last name that was used by the connection that writes, which is made if there is none.
    pub(super) fn connect(&mut self) -> Stamp {
        if let Some(last) = self.last {
            return last;
        }
        let nonce = self.rng.u64(..);
        let writer = self.disk().log.register(nonce);
        if !self.is_shared {
            // The file is locked: no other has it open.
            (1..writer).for_each(|ended| self.disk().log.disconnect(ended));
            self.disk().log.end_disconnected();
        }
        let last = Stamp { writer, sequence: 0 };
        self.last = Some(last);
        last
    }

    /// The connection that writes is gone, and what it had under way.
    pub(super) fn disconnect(&mut self) {
        if let Some(last) = self.last.take() {
            self.disk().log.disconnect(last.writer);
        }
    }

    fn write(&mut self, batch: &Batch, stamp: Stamp) -> Result<(), StoreError> {
        if let Some(Pending::UnderWay(..)) = &self.pending {
            self.end_pending();
        }
        let before = self.disk().clone();
        self.land(batch, stamp)?;
        if batch.is_logged() {
            self.last = Some(stamp);
        }
        self.before = before;
        self.pending = None;
        self.commits += 1;
        Ok(())
    }

    pub(super) fn settle(&mut self, now: Moment) -> Result<Option<Stamp>, StoreError> {
        let is_doubtful = self.claims_to_fail > 0;
        self.claims_to_fail = self.claims_to_fail.saturating_sub(1);
        let fails = is_doubtful
            || match self.weather {
                Weather::Down | Weather::ReadOnly | Weather::Mute => true,
                Weather::Flaky => self.rng.u32(..3) == 0,
                Weather::Still | Weather::Calm | Weather::Slow => false,
            };
        let own = self.connect().next();
        let stamp = self.in_doubt.unwrap_or(own);
        if fails {
            self.failures += 1;
            let before = if self.failed_claims.0 == now { self.failed_claims.1 } else { 0 };
            self.failed_claims = (now, before + 1);
            assert!(before < 20, "the store is tried again and again without a pause");
            // The name may be taken all the same.
            if self.rng.bool() && self.lie != Lie::ClaimsNothing {
                self.claim(stamp);
            }
            return Err(StoreError::Unavailable("no claim in this weather".to_owned()));
        }
        let was_committed = match self.lie {
            Lie::ClaimsNothing => self.disk().log.was_committed(stamp),
            _ => self.claim(stamp),
        };
        if stamp == own {
            self.last = Some(own);
        }
        self.in_doubt = None;
        Ok(was_committed.then_some(stamp))
    }

    /// Takes a name, once its commit has ended; whether that has happened.
    fn claim(&mut self, stamp: Stamp) -> bool {
        match &self.pending {
            Some(Pending::UnderWay(..)) => self.end_pending(),
            _ => self.pending = None,
        }
        let mut disk = self.disk();
        !disk.log.claim(stamp, true) && disk.log.was_committed(stamp)
    }

    /// What was not told comes to be, or not.
    pub(super) fn end_pending(&mut self) {
        if let Some(Pending::InLog(batch, stamp) | Pending::UnderWay(batch, stamp)) =
            self.pending.take()
        {
            if self.rng.bool() {
                // Refused if others have written since; if nobody has, it fits.
                let _ = self.land(&batch, stamp);
            }
            if self.is_shared {
                self.disk().log.disconnect(stamp.writer);
            }
        }
    }

    pub(super) fn land(&self, batch: &Batch, stamp: Stamp) -> Result<(), StoreError> {
        (self.landing)(&mut self.disk(), batch, stamp)
    }
}
