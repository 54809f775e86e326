//! Who is let in, to do what, and whose operations they see: over real sockets, with real tokens.

mod any_rpc;
mod fuzz;
mod isolation;
mod issuer;
mod keys;
mod limits;
mod mounts;
mod shares;
mod support;
mod tenants;
mod tokens;
