//! Hostile input over raw sockets, to the server's own routes and through a relay: it is refused, nothing that
//! was there is lost, nobody hears of it, and the places that it took are given back.

mod framing;
mod headers;
mod http2;
mod many;
mod slow;
mod stage;
mod targets;
