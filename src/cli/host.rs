//! A server with its handlers, and the order in which they stop.
//!
//! Handlers stop first, while the server still takes their reports: what they finish is kept, and
//! what they give back goes to the queue at once. Then the server stops.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, Stopped};
use crate::worker::Worker;

/// How a drain timeout is shared out: time for handlers to finish, and for the server after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// For handlers, before they are told to stop.
    pub(super) handlers: Duration,
    /// For the server.
    pub(super) server: Duration,
}

/// What a worker takes beyond its own drain timeout, to stop its handlers and give work back.
const GIVING_BACK: Duration = Duration::from_secs(2);
/// What the server gets at most: without handlers' reports it has little to finish.
const SERVER_SHARE: Duration = Duration::from_secs(3);

impl Shares {
    /// Shares out `drain_timeout`; without handlers the server has all of it.
    pub(super) fn of(drain_timeout: Duration, has_handlers: bool) -> Self {
        if !has_handlers {
            return Self { handlers: Duration::ZERO, server: drain_timeout };
        }
        let server = SERVER_SHARE.min(drain_timeout / 2);
        Self { handlers: drain_timeout.saturating_sub(server + GIVING_BACK), server }
    }
}

/// Runs them until `stop`, or until one of them ends by itself.
pub(super) async fn host(
    server: Server,
    workers: Vec<Worker>,
    stop: CancellationToken,
) -> anyhow::Result<Stopped> {
    if workers.is_empty() {
        return server.run(stop).await;
    }
    let working = try_join_all(workers.into_iter().map(|worker| worker.run(stop.clone())));
    let server_stop = CancellationToken::new();
    let mut serving = std::pin::pin!(server.run(server_stop.clone()));
    let worked = tokio::select! {
        served = &mut serving => {
            served?;
            anyhow::bail!("the server ended by itself");
        }
        worked = working => worked,
    };
    server_stop.cancel();
    let stopped = serving.await?;
    worked.context("the handlers ended")?;
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_fits_into_the_drain_timeout() {
        for seconds in [0, 1, 4, 10, 60] {
            let whole = Duration::from_secs(seconds);
            let Shares { handlers, server } = Shares::of(whole, true);
            assert!(handlers + server <= whole);
            assert!(seconds < 5 || handlers + GIVING_BACK + server <= whole, "{seconds}");
        }
        let alone = Shares::of(Duration::from_secs(10), false);
        assert_eq!(alone.server, Duration::from_secs(10));
    }
}
