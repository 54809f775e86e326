//! Operation <-> bytes.
