//! The relay over real sockets: a scripted API behind a real server and its own workers.

mod callers;
mod killed;
mod locations;
mod lost;
mod odd;
mod operations;
mod pages;
mod pass_through;
mod raw;
mod refusals;
mod secrets;
mod support;
mod tls;
