//! Who looks on: how commits reach watches.
//!
//! - `hub`: topics, one for each watched operation, and progress.
//! - `watcher`: one watch over one operation, by its cursor.
//! - `chain`: what was committed lately, for watches over filters; `tail` reads what others commit.
//! - `feed`: one watch over a filter, by its frontier; `item`: what it delivers; `gathered`: the
//!   progress among that.
//! - `hints`: what other replicas say that they have done.

pub(super) mod chain;
pub(super) mod feed;
mod gathered;
pub(super) mod hints;
pub(super) mod hub;
pub(super) mod item;
mod signal;
pub(super) mod tail;
pub(super) mod watcher;
