//! The service as its clients and workers meet it: every rpc, through real sockets, on a database
//! in a file. One module per behaviour.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no callers")]

mod support;

mod access;
mod acquire;
mod acquire_again;
mod acquire_inputs;
mod answer_sizes;
mod batch;
mod cancel;
mod children;
mod clocks;
mod damaged;
mod delete;
mod descriptors;
mod dispatch;
mod events;
mod fairness;
mod get;
mod google;
mod google_calls;
mod grpc_web;
mod idempotency;
mod isolation;
mod large;
mod limits;
mod list;
mod metrics;
mod outstanding;
mod raw_calls;
mod read_result;
mod reflection;
mod repeated_reports;
mod reports;
mod resume;
mod retention;
mod retry;
mod sessions;
mod shutdown;
mod spans;
mod standing;
mod submit;
mod submit_and_watch;
mod submit_rules;
mod survival;
mod tenants;
mod time_limits;
mod trace;
mod violations;
mod wait;
mod watch;
mod watch_all;
mod watch_progress;
mod watch_streams;
mod wire_errors;
