//! Watches: how commits reach clients that watch.
//!
//! - `hub`: topics, one for each watched operation, and progress.
//! - `watcher`: one watch over one operation, by its cursor.
//! - `chain`: recent commits, for watches over filters; `tail` reads other writers' commits into it.
//! - `feed`: one watch over a filter, by its frontier; `item`: its items; `gathered`: its progress.
//! - `hints`: hints of other replicas about their changes.

pub(super) mod chain;
pub(super) mod feed;
mod gathered;
pub(super) mod hints;
pub(super) mod hub;
pub(super) mod item;
mod signal;
pub(super) mod tail;
pub(super) mod watcher;
