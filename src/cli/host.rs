//! A server with its handlers, and the order in which they stop.
//!
//! After the signal the server takes no new work. Handlers stop first, while the server still takes their reports:
//! finished attempts count, and unfinished ones go back to the queue at once. Then the server closes its connections.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, Stopped};
use crate::worker::Worker;

/// How long a worker needs beyond its drain timeout, to stop its handlers and give work back.
const GIVING_BACK: Duration = Duration::from_secs(2);
/// The least time that the server keeps for itself, to finish calls and to close the store.
const SERVER_SHARE: Duration = Duration::from_secs(3);

/// The part of the drain timeout after which handlers get SIGTERM.
pub(super) fn handlers_share(drain_timeout: Duration) -> Duration {
    drain_timeout.saturating_sub(SERVER_SHARE.min(drain_timeout / 2) + GIVING_BACK)
}

/// The running program, which is the keeper of commands. A newer file at its path on disk is another program.
pub(super) fn keeper() -> std::io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

/// Runs server and workers until `stop`, or until one of them ends by itself.
pub(super) async fn host(
    server: Server,
    workers: Vec<Worker>,
    stop: CancellationToken,
) -> anyhow::Result<Stopped> {
    if workers.is_empty() {
        return server.run(stop).await;
    }
    // Workers may also end by themselves; then the server stops as well.
    let (server_stop, workers_ended) = (stop.child_token(), CancellationToken::new());
    let working = try_join_all(workers.into_iter().map(|worker| worker.run(stop.clone())));
    let serving = server.run_beside(server_stop.clone(), workers_ended.cancelled());
    let mut serving = std::pin::pin!(serving);
    let worked = tokio::select! {
        stopped = &mut serving => {
            let stopped = stopped?;
            anyhow::ensure!(stop.is_cancelled(), "the server ended by itself");
            return Ok(stopped);
        }
        worked = working => worked,
    };
    server_stop.cancel();
    workers_ended.cancel();
    let stopped = serving.await?;
    worked.context("the handlers ended")?;
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_leave_time_to_the_server() {
        let share = |seconds| handlers_share(Duration::from_secs(seconds)).as_secs();
        assert_eq!([0, 1, 4, 10, 60].map(share), [0, 0, 0, 5, 55]);
    }
}
