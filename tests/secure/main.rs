//! Who is let in, to do what, and whose operations they see: over real sockets, with real tokens.

mod any_rpc;
mod isolation;
mod issuer;
mod keys;
mod support;
mod tenants;
mod tokens;
