//! gRPC: decode, call the service, encode. No rule, no state.

use std::time::Duration;

use http::HeaderMap;
use tonic::metadata::MetadataMap;

use crate::service::ServiceError;
use crate::wire::decode;

mod admin;
mod gate;
mod google;
mod health;
mod messages;
mod operations;
mod reflection;
mod services;
mod status;
mod web;
mod work_messages;
mod work_stream;
mod workers;

use gate::caller;
pub use reflection::Reflection;
pub use services::{Call, Services};
pub use status::{explain, refused_by_limit};

/// The response to a unary call, compressed if that pays. Compression costs at least about 100 µs, as much as a whole
/// call; from 4 KiB on it costs less than 50 µs for each KiB saved.
fn reply<M: prost::Message>(message: M) -> tonic::Response<M> {
    const COMPRESSED_FROM: usize = 4 << 10;
    let is_small = message.encoded_len() < COMPRESSED_FROM;
    let mut response = tonic::Response::new(message);
    if is_small {
        response.disable_compression();
    }
    response
}

/// The response to a streaming call, uncompressed, because messages are small, or contents may be compressed already.
fn streamed<S>(messages: S) -> tonic::Response<S> {
    let mut response = tonic::Response::new(messages);
    response.disable_compression();
    response
}

/// The duration of a wait: as requested, but not beyond the call's own deadline.
fn wait_time(
    metadata: &MetadataMap,
    asked: Option<&prost_types::Duration>,
) -> Result<Duration, ServiceError> {
    let asked = decode::wait("timeout", asked)?;
    Ok(timeout_to_answer(metadata).map_or(asked, |left| left.min(asked)))
}

/// The call's time limit, from its `grpc-timeout` header.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
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

/// The call's time limit, less the time to respond before the client gives up.
///
/// The header may have more time than the client: clients built on gRPC's C core round it up, to 100 ms from 10 s,
/// to 1 s from 100 s (100 s is sent as `101S`), to 10 s from 1,000 s.
fn timeout_to_answer(metadata: &MetadataMap) -> Option<Duration> {
    const TRAVEL: Duration = Duration::from_millis(200);
    const FINE: Duration = Duration::from_secs(99);
    timeout(metadata.as_ref()).map(|timeout| {
        let rounded_up = match timeout > FINE {
            true => Duration::from_secs(1).max(timeout / 100),
            false => Duration::ZERO,
        };
        timeout.saturating_sub(TRAVEL.min(timeout / 10) + rounded_up)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_before_the_deadline_that_a_padded_header_stands_for() {
        let answer_after = |seconds: u64| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", format!("{seconds}S").parse().unwrap());
            timeout_to_answer(&metadata).unwrap()
        };
        assert_eq!(answer_after(1), Duration::from_millis(900));
        assert_eq!(answer_after(99), Duration::from_millis(98_800));
        // The header, and the shortest time that the client can have meant.
        for (header, meant) in [(101, 100), (231, 230), (1_000, 999), (1_010, 1_000)] {
            let margin = Duration::from_secs(meant).checked_sub(answer_after(header));
            assert!(margin >= Some(Duration::from_millis(200)), "{header}");
        }
    }

    #[test]
    fn deadlines_are_read_in_every_unit() {
        let read = |text: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", tonic::metadata::MetadataValue::from_static(text));
            timeout(metadata.as_ref())
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
