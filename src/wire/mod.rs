//! The common part of gRPC and HTTP: messages into domain types, checked, and back.
//!
//! All conversions are here. Nothing here acts.

pub mod batches;
mod children;
pub mod decode;
pub mod encode;
pub mod encodings;
pub mod errors;
pub mod google;
mod json_value;
pub mod keys;
pub mod limits;
pub mod reports;
mod settings;
pub mod shared;
pub mod shares;
pub mod size;
pub mod standing;
pub mod streams;
pub mod time;
pub mod webhooks;
