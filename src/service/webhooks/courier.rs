//! The courier: the replica that reads the log for webhooks and sends. One entry of the catalogue has what another
//! replica needs to take over.
//!
//! There is no entry until a webhook is needed, so a server without webhooks does not read the log for them. The first
//! subscription, and the first submission with a callback, create it at the log's present end before they are stored
//! themselves: everything that they cover comes later.

use serde::{Deserialize, Serialize};

use super::Webhooks;
use crate::catalogue::{Change, ChangeError, Entry, Snapshot};
use crate::store::log::{Frontier, Position};

/// The name of the entry.
const NAME: &str = "courier";

/// The sending replica, and its position in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CourierState {
    /// Everything before this was read, and its deliveries are stored.
    pub position: String,
    /// The sending replica, by a random name; empty if it has stopped.
    #[serde(default)]
    pub holder: String,
    /// Rises while the replica is alive.
    #[serde(default)]
    pub beat: u64,
    /// Whether it may be far behind the end of the log.
    #[serde(default)]
    pub is_behind: bool,
}

impl Entry for CourierState {
    const SPACE: &'static str = "webhook-courier";
}

impl CourierState {
    /// The entry in this snapshot.
    pub fn of(snapshot: &Snapshot<Self>) -> Option<&Self> {
        snapshot.get(NAME).map(|state| &**state)
    }

    /// The change that writes this entry.
    pub fn put(self) -> Change<Self> {
        Change::put(NAME, self)
    }
}

impl Webhooks {
    /// Ensures that the log is read from here on, or from earlier.
    pub async fn begin(&self) -> Result<(), ChangeError> {
        if CourierState::of(&self.courier.snapshot()).is_some() {
            return Ok(());
        }
        let position = self.position_at(self.store.head().await?.frontier());
        self.courier
            .change(|before| {
                let (position, holder) = (position.clone(), String::new());
                let new = CourierState { position, holder, beat: 0, is_behind: false };
                let change = match CourierState::of(before) {
                    Some(_) => Change { put: Vec::new(), delete: Vec::new() },
                    None => new.put(),
                };
                Ok::<_, ChangeError>((change, ()))
            })
            .await
    }

    /// A place in the log, as stored.
    pub fn position_at(&self, frontier: Frontier) -> String {
        Position::at(frontier).encode(&self.store.signing_key())
    }
}
