//! Compiles `proto/` into `OUT_DIR` and emits the descriptor set that reflection serves.
//! protox is a protobuf compiler in Rust, so that there is no `protoc` to install.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const PROTOS: [&str; 7] = [
    "longrun/v1/operations.proto",
    "longrun/v1/workers.proto",
    "longrun/v1/admin.proto",
    "longrun/v1/metadata.proto",
    "google/longrunning/operations.proto",
    "google/rpc/error_details.proto",
    "google/api/httpbody.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("longrun.fds"), descriptors.encode_to_vec())?;
    // Each message knows its full name: how the JSON mapping finds its descriptor.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    // Equal messages have equal bytes: maps in the order of their keys.
    config.btree_map(["."]);
    tonic_prost_build::configure()
        .build_server(std::env::var_os("CARGO_FEATURE_SERVER").is_some())
        .bytes(".longrun.v1")
        .bytes(".google.api")
        .codec_path("crate::proto::Codec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
