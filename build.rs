//! Compiles `proto/` into `OUT_DIR` and emits the descriptor set that reflection serves.
//! protox is a protobuf compiler in Rust, so that there is no `protoc` to install.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;
use prost_build::{Config, Service, ServiceGenerator};

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
    let mut config = Config::new();
    // Each message knows its full name: how the JSON mapping finds its descriptor.
    config.enable_type_names();
    // Equal messages have equal bytes: maps in the order of their keys.
    config.btree_map(["."]);
    config.bytes([".longrun.v1", ".google.api"]);
    config.service_generator(Box::new(Stubs::new()));
    config.compile_fds(descriptors)?;
    Ok(())
}

/// Methods of `longrun.v1.Operations` whose servers send messages that are encoded already, and may be shared by many
/// calls.
const ENCODED: [&str; 3] = ["WatchOperation", "WatchOperations", "SubmitAndWatch"];

/// Stubs of clients, and of servers where the feature is on.
struct Stubs {
    client: Box<dyn ServiceGenerator>,
    server: Option<Box<dyn ServiceGenerator>>,
}

impl Stubs {
    fn new() -> Self {
        let of = |server| {
            let stubs = tonic_prost_build::configure().codec_path("crate::proto::Codec");
            stubs.build_server(server).build_client(!server).service_generator()
        };
        let server = std::env::var_os("CARGO_FEATURE_SERVER").is_some().then(|| of(true));
        Self { client: of(false), server }
    }
}

impl ServiceGenerator for Stubs {
    fn generate(&mut self, mut service: Service, buffer: &mut String) {
        self.client.generate(service.clone(), buffer);
        let Some(server) = &mut self.server else { return };
        let is_ours = service.package == "longrun.v1" && service.proto_name == "Operations";
        for method in service.methods.iter_mut().filter(|_| is_ours) {
            if ENCODED.contains(&method.proto_name.as_str()) {
                method.output_type =
                    format!("crate::proto::Encoded::<crate::proto::v1::{}>", method.output_type);
            }
        }
        server.generate(service, buffer);
    }

    fn finalize(&mut self, buffer: &mut String) {
        self.client.finalize(buffer);
        if let Some(server) = &mut self.server {
            server.finalize(buffer);
        }
    }
}
