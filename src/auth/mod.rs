//! What callers show of who they are. No I/O, and no decision about what a caller may do.

mod peer;

pub use peer::{PeerCertificate, UnreadableCertificate};
