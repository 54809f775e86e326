//! Long-running operations as a server: submit work, get an operation at once, then get, wait for,
//! watch, cancel and list it, and read its result.
//!
//! ```text
//!             wire                 words of the domain                rows
//!   client -> grpc | http -> service -> engine -> store -> commit
//!                                         |                   |
//!                              operation::transition          v
//!                              (pure; the only place     engine::watch -> stream
//!                               a state changes)                          to client
//!   worker -> grpc -------> service -> engine -> ...   (same road)
//!   timer  -> engine::timers --------> engine -> ...   (same road)
//! ```
//!
//! A change always takes the same road: decode, check the caller, load, decide, commit, publish.
//! Nothing lower down calls upward. The modules in reading order: [`operation`], [`store`],
//! [`engine`], [`service`], [`wire`], [`grpc`], [`http`], [`server`]; and, for those on the
//! other side of the wire, [`client`] and [`worker`]. `ARCHITECTURE.md` has the whole picture.

#![warn(missing_docs, unreachable_pub)]
#![warn(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]
// A panic must not be reachable from outside.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod auth;
pub mod catalogue;
pub mod cli;
pub mod client;
pub mod config;
pub mod dialect;
pub mod engine;
mod files;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod objects;
pub mod operation;
pub mod proto;
pub mod relay;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
mod time_text;
pub mod transfer;
pub mod wire;
pub mod worker;
