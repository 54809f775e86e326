//! Dispatch: queues, workers' sessions and their leases, timers, and other replicas' work.

mod assign;
pub(crate) mod claims;
mod connect;
pub(crate) mod dispatcher;
mod places;
pub(crate) mod quarantine;
pub(crate) mod queue;
mod replicas;
pub(crate) mod resumed;
pub(crate) mod roster;
mod serving;
pub(crate) mod session;
pub(crate) mod session_rows;
pub(crate) mod sessions;
pub(crate) mod turns;
pub(crate) mod upkeep;
pub(crate) mod workforce;
