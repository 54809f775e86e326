//! Notifies systemd of the server's state, if systemd has started it with `Type=notify`.

use sd_notify::NotifyState;

/// The server serves.
pub(super) fn ready() {
    say(&[NotifyState::Ready]);
}

/// The server has begun to stop.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// The server reads files again; ends with [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the clock cannot be read"),
    }
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
