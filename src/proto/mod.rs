//! The generated code of `proto/`, its descriptors, the JSON form of its messages ([`json`], [`schema`]), and
//! foreign types beside them ([`types`]). No meaning of messages.

mod codec;
pub mod json;
pub mod schema;
pub mod types;

pub use codec::{Codec, Encoded, Outgoing};

/// Package `longrun.v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::use_self)]
pub mod v1 {
    tonic::include_proto!("longrun.v1");
}

/// Google's packages that this server speaks.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::use_self)]
pub mod google {
    pub mod api {
        tonic::include_proto!("google.api");
    }
    pub mod longrunning {
        tonic::include_proto!("google.longrunning");
    }
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// The encoded `FileDescriptorSet` of everything this server speaks, for reflection and for JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/longrun.fds"));
