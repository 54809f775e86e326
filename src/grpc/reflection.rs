//! `grpc.reflection` in both versions: the services of this server, and all types that it knows.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::Request;
use http::Response;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as _};
use tonic::service::Routes;
use tonic_reflection::pb::{v1, v1alpha};
use tonic_reflection::server::Builder;

use crate::proto::DESCRIPTORS;
use crate::proto::types::Types;

/// The services under these names, for the latest descriptors. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reflection(Arc<RwLock<Routes>>);

/// The served services, whatever other types describe.
const SERVED: [&[u8]; 4] = [
    DESCRIPTORS,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    v1::FILE_DESCRIPTOR_SET,
    v1alpha::FILE_DESCRIPTOR_SET,
];
/// The names of the service's versions.
pub(super) const SERVICE_NAMES: [&str; 2] =
    [v1::server_reflection_server::SERVICE_NAME, v1alpha::server_reflection_server::SERVICE_NAME];

impl Reflection {
    /// Describes this server with these types.
    pub fn of(types: &Types) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(RwLock::new(build(types)?))))
    }

    /// Replaces the types. Open streams continue with the old ones.
    pub fn describe(&self, types: &Types) -> anyhow::Result<()> {
        let built = build(types)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = built;
        Ok(())
    }

    pub(super) fn call(&self, request: Request) -> BoxFuture<Response<Body>, Infallible> {
        let mut current = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(current.call(request))
    }
}

fn build(types: &Types) -> anyhow::Result<Routes> {
    let sets = types.foreign_files();
    let mut services = Vec::new();
    for set in SERVED {
        for file in FileDescriptorSet::decode(set)?.file {
            let package = file.package().to_owned();
            services.extend(file.service.iter().map(|it| format!("{package}.{}", it.name())));
        }
    }
    let builder = || {
        let builder = SERVED
            .into_iter()
            .fold(Builder::configure(), Builder::register_encoded_file_descriptor_set)
            .register_encoded_file_descriptor_set(&sets);
        // Services that other descriptor files define are not served here.
        services.iter().fold(builder, |builder, name| builder.with_service_name(name.as_str()))
    };
    Ok(Routes::new(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}
