//! The courier: the replica that reads the log for webhooks and sends. What it needs to be followed by another is one
//! entry of the catalogue.
//!
//! There is none until somebody wants to be told; so a server without webhooks reads nothing for them. The first
//! subscription, and the first submission with a callback, make it before they are stored themselves, at the log's
//! present end: what they ask for comes behind it.

use serde::{Deserialize, Serialize};

use super::Webhooks;
use crate::catalogue::{Change, ChangeError, Entry, Snapshot};
use crate::store::log::{Frontier, Position};

/// The name of the one entry.
const NAME: &str = "courier";

/// Who sends, and how far it has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CourierState {
    /// Everything of the log before this was read, and is stored where somebody is to be told of it.
    pub position: String,
    /// The replica that sends, by a name that it has made up; empty if it has stopped.
    #[serde(default)]
    pub holder: String,
    /// Rises while it lives.
    #[serde(default)]
    pub beat: u64,
    /// Whether it may be far behind the log's end.
    #[serde(default)]
    pub is_behind: bool,
}

impl Entry for CourierState {
    const SPACE: &'static str = "webhook-courier";
}

impl CourierState {
    /// The entry of this snapshot.
    pub fn of(snapshot: &Snapshot<Self>) -> Option<&Self> {
        snapshot.get(NAME).map(|state| &**state)
    }

    /// The change that writes it.
    pub fn put(self) -> Change<Self> {
        Change::put(NAME, self)
    }
}

impl Webhooks {
    /// Makes sure that the log is read from here on, at the latest.
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

    /// A place in the log as it is stored.
    pub fn position_at(&self, frontier: Frontier) -> String {
        Position::at(frontier).encode(&self.store.signing_key())
    }
}
