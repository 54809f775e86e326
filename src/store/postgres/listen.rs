//! The connection for other replicas' notifications, reopened as long as the store is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_postgres::{AsyncMessage, Notification};
use uuid::Uuid;

use super::super::shared::Hint;
use super::error::describe;
use super::hints::Hints;
use super::interest::Interest;
use super::notify::{self, Channels, REPLICAS};
use super::presence::{KNOWN_AFTER, Presence};
use super::server::Server;
use super::session::{Role, Session};
use super::writer::Writer;

/// Notifications that wait between the connection and this task.
const HEARD: usize = 4_096;
/// Pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the connection is checked, and unused channels are unsubscribed.
const ROUND: Duration = Duration::from_secs(10);
/// How long the check may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The task.
pub(super) struct Listener {
    pub(super) server: Arc<Server>,
    pub(super) replica: Uuid,
    pub(super) writer: Arc<Writer>,
    pub(super) presence: Arc<Presence>,
    pub(super) interest: Arc<Interest>,
    pub(super) hints: Arc<Hints>,
}

impl Listener {
    /// Listens until the future is dropped.
    pub(super) async fn run(self) {
        // Until then other replicas may not have known this one.
        let known = Instant::now() + KNOWN_AFTER;
        tokio::join!(
            async {
                sleep_until(known).await;
                self.hints.push(Hint::Missed);
            },
            self.stay_connected()
        );
    }

    async fn stay_connected(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.listen().await {
                // The connection worked for a while.
                Ok(why) => {
                    tracing::warn!(error = %why, "the database's notifications ended, connecting again");
                    pause = FIRST_PAUSE;
                }
                Err(why) => tracing::debug!(error = %why, "the database's notifications fail"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection's life: `Ok` has the reason why it ended, `Err` why it never began.
    async fn listen(&self) -> Result<String, String> {
        let (sender, mut heard) = mpsc::channel(HEARD);
        let is_full = Arc::new(AtomicBool::new(false));
        let overflowed = Arc::clone(&is_full);
        let hear = move |message| {
            if let AsyncMessage::Notification(notification) = message
                && sender.try_send(notification).is_err()
            {
                overflowed.store(true, Ordering::SeqCst);
            }
        };
        let session = Session::open(&self.server, Role::Listen, hear).await?;
        let own = notify::of_replica(self.replica);
        let told = format!("LISTEN {REPLICAS}; LISTEN {own}");
        in_time(session.client.batch_execute(&told)).await?;
        self.interest.connected();
        // Also dropped when this future is.
        let _connected = Connected(self);
        self.begin(&session).await?;
        self.hints.push(Hint::Missed);
        let mut round = interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notification = heard.recv() => match notification {
                    Some(notification) => self.heard(&notification),
                    None => return Ok("the connection was closed".to_owned()),
                },
                () = self.interest.changed() => match self.begin(&session).await {
                    Ok(()) => {}
                    Err(why) => return Ok(why),
                },
                _ = round.tick() => match self.look_after(&session).await {
                    Ok(()) => {}
                    Err(why) => return Ok(why),
                },
            }
            if is_full.swap(false, Ordering::SeqCst) {
                self.hints.push(Hint::Missed);
            }
        }
    }

    /// Subscribes to the wanted channels.
    async fn begin(&self, session: &Session) -> Result<(), String> {
        let missing = self.interest.missing();
        self.tell(session, "LISTEN", missing).await?;
        self.interest.listened(missing);
        Ok(())
    }

    /// Unsubscribes from unused channels, and checks the connection.
    async fn look_after(&self, session: &Session) -> Result<(), String> {
        let forsaken = self.interest.forsaken();
        self.tell(session, "UNLISTEN", forsaken).await?;
        // They may be wanted again meanwhile.
        self.begin(session).await?;
        in_time(session.client.check_connection()).await
    }

    async fn tell(&self, session: &Session, what: &str, of: Channels) -> Result<(), String> {
        let told: Vec<String> =
            of.numbers().map(|number| format!("{what} {}", notify::name(number))).collect();
        if told.is_empty() {
            return Ok(());
        }
        in_time(session.client.batch_execute(&told.join("; "))).await
    }

    fn heard(&self, notification: &Notification) {
        let (channel, payload) = (notification.channel(), notification.payload());
        if channel == REPLICAS {
            let (sender, has_missed) = notify::sender(payload);
            if sender != self.replica.simple().to_string() {
                self.presence.assume_others();
                if has_missed {
                    self.hints.push(Hint::Missed);
                }
            }
            return;
        }
        if notification.process_id() == self.writer.pid.load(Ordering::SeqCst) {
            return;
        }
        if let Some(hint) = notify::hint(channel, payload) {
            self.hints.push(hint);
        }
    }
}

/// Exists while there is a connection.
struct Connected<'a>(&'a Listener);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.interest.disconnected();
        // Without a connection, new replicas go unnoticed.
        self.0.presence.assume_others();
    }
}

async fn in_time(
    asked: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<(), String> {
    match timeout(ANSWER, asked).await {
        Ok(answered) => answered.map_err(|error| describe(&error)),
        Err(_) => Err("the database does not answer".to_owned()),
    }
}
