//! Log lines about the worker's attempts and sessions.

/// Logs at `info`; at `debug` if the worker is within a server, which logs its sessions and operations itself.
macro_rules! note {
    ($is_within_server:expr, $($line:tt)+) => {
        if $is_within_server {
            tracing::debug!($($line)+)
        } else {
            tracing::info!($($line)+)
        }
    };
}

pub(super) use note;
