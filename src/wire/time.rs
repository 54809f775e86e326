//! Times and durations, both ways.

use std::time::Duration;

use crate::operation::Timestamp;

/// A duration that is not negative; `None` if seconds and nanoseconds have different signs, such as 1 s and -1 ns.
pub fn decode_duration(message: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(message.seconds).ok()?;
    let nanos = u32::try_from(message.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// A time of the years 1 to 9999.
pub fn decode_timestamp(message: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::from_unix(message.seconds, message.nanos)
}

/// A time as a message.
pub fn encode_timestamp(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = at.to_unix();
    prost_types::Timestamp { seconds, nanos }
}

/// A duration as a message.
pub fn encode_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}
