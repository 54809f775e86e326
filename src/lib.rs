//! Long-running operations as a server.

pub mod client;
pub mod engine;
pub mod http;
pub mod operation;
pub mod proto;
pub mod service;
pub mod store;
pub mod wire;
