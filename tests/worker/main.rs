//! The worker library against a service that follows a script, over real sockets.

mod commands;
mod drain;
mod fake;
mod resume;
mod stream;
