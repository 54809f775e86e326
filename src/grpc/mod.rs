//! gRPC: decode, call the service, encode. No rule, no state.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::service::Routes;

use crate::proto::DESCRIPTORS;
use crate::proto::v1::operations_server::OperationsServer;
use crate::proto::v1::workers_server::WorkersServer;
use crate::service::{Caller, Service};

mod health;
mod operations;
mod status;
mod time_limit;
mod workers;

pub use health::{HealthReporter, follow_store, set_not_serving};
pub use status::explain;
pub use time_limit::time_limit;

/// A mark on requests that come from within this process; the server's listener sets it.
#[derive(Clone, Copy, Debug)]
pub struct InProcess;

/// Room for the fields around a payload, within the limit of a message.
const MESSAGE_SLACK: usize = 1 << 20;
/// A batch may be this many times as large as a message of one payload.
const BATCH_FACTOR: usize = 2;

/// All gRPC services, and the switch of the health service.
pub async fn routes(service: Service) -> anyhow::Result<(Routes, HealthReporter)> {
    let max_message = service.limits().max_message_bytes;
    let max_message = max_message.saturating_mul(BATCH_FACTOR).saturating_add(MESSAGE_SLACK);
    let operations = OperationsServer::new(operations::OperationsRpc::new(service.clone()))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX);
    let workers = WorkersServer::new(workers::WorkersRpc::new(service))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX);
    let (reporter, health_server) = tonic_health::server::health_reporter();
    health::start(&reporter).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(operations)
        .add_service(workers)
        .add_service(health_server)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((routes, reporter))
}

/// Who calls. The only place where a gRPC call's caller is made.
fn caller(_metadata: &MetadataMap) -> Caller {
    Caller::anonymous()
}

/// How long the call may take, from its `grpc-timeout` header.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// The same with time left to answer before the client gives up.
fn timeout_to_answer(metadata: &MetadataMap) -> Option<Duration> {
    const MARGIN: Duration = Duration::from_millis(200);
    timeout(metadata).map(|timeout| timeout.saturating_sub(MARGIN.min(timeout / 10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_in_every_unit() {
        let read = |text: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", tonic::metadata::MetadataValue::from_static(text));
            timeout(&metadata)
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("4S"), Some(Duration::from_secs(4)));
        assert_eq!(read("5m"), Some(Duration::from_millis(5)));
        assert_eq!(read("6u"), Some(Duration::from_micros(6)));
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for wrong in ["", "S", "5", "123456789S", "-1S", "1x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
