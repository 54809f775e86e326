//! Dialects over real sockets: the documents of five APIs, followed literally, and what must not get through.

mod capacity;
mod events;
mod files;
mod format;
mod inputs;
mod owners;
mod paths;
mod support;
mod transcript;
mod waiting;
mod written;
