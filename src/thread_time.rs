//! Processor time, for tests that hold how work grows: other load on the machine does not change it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time that this thread took while `work` ran.
pub(crate) fn of(work: impl FnOnce()) -> Duration {
    let read = || {
        let at = clock_gettime(ClockId::ThreadCPUTime);
        Duration::from_secs(at.tv_sec.unsigned_abs())
            + Duration::from_nanos(at.tv_nsec.unsigned_abs())
    };
    let began = read();
    work();
    read().saturating_sub(began)
}
