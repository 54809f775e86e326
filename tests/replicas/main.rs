//! Replicas that share a PostgreSQL act as one service: real servers, real clients, a database of the tests' own.
//!
//! What happens when they are killed at random is in `tests/crash`.

mod across;
mod attempts;
mod away;
mod batches;
mod heard;
mod keys;
mod large;
mod limits;
mod logs;
#[path = "../postgres_support/mod.rs"]
#[expect(dead_code, reason = "not everything is used by each of the tests")]
mod postgres_support;
mod refused;
mod standby;
mod standing;
mod support;
