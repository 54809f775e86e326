//! Webhooks: real receivers, the real program, and libraries of others that know nothing of longrun.

mod callbacks;
mod ends;
mod kills;
#[path = "../postgres_support/mod.rs"]
#[expect(dead_code, reason = "not everything is used by each of the tests")]
mod postgres_support;
mod receivers;
mod replicas;
mod subscriptions;
mod support;
