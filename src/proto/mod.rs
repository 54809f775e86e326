//! The generated code of `proto/`, its descriptors, and the JSON form of its messages ([`json`]). Nothing else:
//! what the messages mean is said elsewhere.

mod codec;
pub mod json;

pub use codec::Codec;

/// Package `longrun.v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::use_self)]
pub mod v1 {
    tonic::include_proto!("longrun.v1");
}

/// The encoded `FileDescriptorSet` of everything this server speaks, for reflection and for JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/longrun.fds"));
