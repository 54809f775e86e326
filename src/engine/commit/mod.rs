//! The road of every change: the task that takes, loads, decides, commits and notifies, and what it knows of the store.

pub(crate) mod committer;
pub(crate) mod counts;
mod in_doubt;
mod logged;
mod outage;
mod planner;
pub(crate) mod recent;
mod recovery;
mod waiting;
mod write;
