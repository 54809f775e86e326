//! The worker library against a service that follows a script, over real sockets; and a worker of curl alone.

mod commands;
mod curl;
mod drain;
mod fake;
mod resume;
mod stream;
