//! Long-running operations as a server.

pub mod client;
pub mod config;
pub mod engine;
pub mod grpc;
pub mod operation;
pub mod proto;
pub mod server;
pub mod service;
pub mod store;
pub mod wire;
pub mod worker;
