pub mod client;
pub mod operation;
pub mod proto;
pub mod store;
pub mod worker;
