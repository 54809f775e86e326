//! The relay over real sockets: a scripted API behind a real server and its own workers.

mod killed;
mod operations;
mod pass_through;
mod refusals;
mod support;
mod tls;
