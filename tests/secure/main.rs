//! Who is let in, to do what, and whose operations they see: over real sockets, with real tokens.

mod isolation;
mod issuer;
mod support;
mod tenants;
mod tokens;
