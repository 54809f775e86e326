//! HTTP as its clients see it: driven request by request over a real engine and store.

mod attempts;
mod batches;
mod browsers;
mod conditions;
mod described;
mod envelopes;
mod google;
mod health;
mod limits;
mod listening;
mod lives;
mod refusals;
mod retention;
mod sockets;
mod streams;
mod submissions;
mod support;
mod violations;
