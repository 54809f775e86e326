//! Why a queued operation is not running.

use super::Timestamp;
use super::closed_set::closed_set;

closed_set! {
    /// Why a queued operation is not running, as far as one server knows.
    pub enum WaitReason {
        /// The store accepts no writes, so nothing can start.
        StoreNotWritable = 1 "STORE_NOT_WRITABLE",
        /// Its start time has not come.
        Scheduled = 2 "SCHEDULED",
        /// Its last attempt failed, and the pause before the next one has not ended.
        BackingOff = 3 "BACKING_OFF",
        /// No connected worker serves its kind.
        NoWorker = 4 "NO_WORKER",
        /// A limit of its tenant on running attempts is reached.
        LimitReached = 5 "LIMIT_REACHED",
        /// All workers that serve its kind run their maximum number of attempts.
        WorkersBusy = 6 "WORKERS_BUSY",
        /// It can start, but other operations come first.
        WaitingTurn = 7 "WAITING_TURN",
        /// Its kind is paused.
        Paused = 8 "PAUSED",
    }
}

/// A reason with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The reason.
    pub reason: WaitReason,
    /// The reason as a sentence.
    pub message: String,
    /// When it ends, if that is known.
    pub until: Option<Timestamp>,
}
