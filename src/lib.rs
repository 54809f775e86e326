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

/// The programs of this page are compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/clients/rust.md")]
mod of_rust {}

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod batches;
#[cfg(feature = "server")]
pub mod catalogue;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
mod codes;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod dialect;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "server")]
mod files;
#[cfg(feature = "server")]
pub mod grpc;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
pub mod objects;
#[cfg(feature = "server")]
pub mod operation;
#[cfg(feature = "server")]
pub mod pages;
#[cfg(feature = "client")]
pub mod proto;
#[cfg(feature = "server")]
pub mod relay;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod spans;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(all(test, feature = "server"))]
mod thread_time;
#[cfg(feature = "client")]
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "clients read durations only"))]
mod time_text;
#[cfg(feature = "server")]
pub mod transfer;
#[cfg(feature = "server")]
pub mod webhooks;
#[cfg(feature = "server")]
pub mod wire;
#[cfg(feature = "server")]
mod words;
#[cfg(feature = "worker")]
pub mod worker;
