//! Signals as futures. The callers decide what a signal does.

use std::future;
use std::pin::pin;

use futures_util::future::{Either, select};
use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;

/// SIGINT and SIGTERM, caught from the construction of this value on.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to catch them.
    pub(super) fn catch() -> anyhow::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// The next signal, as the exit code of a program that it ends.
    pub(super) async fn next(&mut self) -> Exit {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Exit::Interrupted,
            Some(()) = self.terminate.recv() => Exit::Terminated,
            else => future::pending().await,
        }
    }
}

/// SIGHUP, which would end a program that does not catch it.
#[derive(Debug)]
pub(super) struct Hangups(Signal);

impl Hangups {
    /// Begins to catch them.
    pub(super) fn catch() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            future::pending().await
        }
    }
}

/// SIGTSTP, by which Ctrl-Z stops a program that does not catch it.
#[derive(Debug)]
pub(super) struct Suspensions(Signal);

impl Suspensions {
    /// Begins to catch them.
    pub(super) fn catch() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::from_raw(process::Signal::TSTP.as_raw()))?))
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            future::pending().await
        }
    }

    /// Stops this process until it is continued.
    pub(super) fn stop() {
        let _ignored = process::kill_process(process::getpid(), process::Signal::STOP);
    }
}

/// Does `work`, unless a signal comes first.
pub(super) async fn interruptible<T>(
    work: impl Future<Output = T>,
) -> anyhow::Result<Result<T, Exit>> {
    let mut signals = Signals::catch()?;
    let (work, signal) = (pin!(work), pin!(signals.next()));
    Ok(match select(work, signal).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right((exit, _)) => Err(exit),
    })
}
