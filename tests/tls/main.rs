//! TLS, Unix sockets and credentials over real connections: what servers let in, and what clients trust and show.

mod client;
mod listener;
mod mutual;
mod program;
mod rotation;
mod support;
mod unix;
