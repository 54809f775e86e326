pub mod engine;
pub mod operation;
pub mod proto;
pub mod service;
pub mod store;
