//! HTTP as its clients see it: driven request by request over a real engine and store.

mod envelopes;
mod lives;
mod refusals;
mod support;
