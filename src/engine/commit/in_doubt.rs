//! A commit of which it is not known whether it happened.

use crate::engine::dispatch::dispatcher::Outgoing;
use crate::engine::dispatch::resumed::ResumedSessions;
use crate::engine::round::draft::Draft;

/// While there is doubt the draft is neither settled nor undone: what it took from the queue stays taken, its leases are
/// not given out, nobody is told of it. Sessions may come and go meanwhile.
#[derive(Debug)]
pub(super) struct InDoubt {
    pub(crate) draft: Draft,
    pub(crate) messages: Vec<Outgoing>,
    /// The sessions that the messages tell what they missed.
    pub(crate) resumed: ResumedSessions,
}
