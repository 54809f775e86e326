//! Dialects over real sockets: the documents of five APIs, followed literally, and what must not get through.

mod capacity;
mod events;
mod files;
mod format;
mod inputs;
mod names;
mod owners;
mod paths;
mod places;
mod results;
mod studio;
mod support;
mod transcript;
mod triggers;
mod waiting;
mod written;
