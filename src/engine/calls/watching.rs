//! Watches of one operation, and watches over a filter.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::super::request::{EngineError, Submitted};
use super::super::watch::feed::Feed;
use super::super::watch::item::{Committed, FeedStart};
use super::super::watch::watcher::Watcher;
use super::Engine;
use crate::operation::filter::Filter;
use crate::operation::{Operation, OperationId, Revision, Scope};
use crate::store::log::SigningKey;
use crate::store::shared::{Listening, Topic};

/// How long a new watch waits for its subscription to hints of other replicas.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

impl Engine {
    /// Watches an operation from `after`, or from its present state. Also returns the operation as it was found,
    /// for checks.
    pub async fn watch(
        &self,
        scope: &Scope,
        id: OperationId,
        after: Option<Revision>,
        include_progress: bool,
    ) -> Result<(Watcher, Operation), EngineError> {
        // Subscribe before reading, so that no change is missed in between.
        let subscription = self.shared.hub.subscribe(id);
        let listening = self.listen(Topic::Operation(id)).await?;
        let at_hand = after.and_then(|after| self.at_hand(scope, id, after));
        let (operation, transitions) = match at_hand {
            Some(found) => found,
            None => (self.get(scope, id).await?, Vec::new()),
        };
        self.shared.hub.known(id, operation.life.revision);
        let found = operation.clone();
        let shared = Arc::clone(&self.shared);
        let watcher =
            Watcher::new(shared, subscription, operation, after, include_progress, listening);
        Ok((watcher.caught_up(transitions), found))
    }

    /// What a client that has seen an operation up to `after` has missed, if that needs no read of the store. It may be
    /// one commit behind what other clients have seen: this watch will deliver that commit.
    fn at_hand(
        &self,
        scope: &Scope,
        id: OperationId,
        after: Revision,
    ) -> Option<(Operation, Vec<Committed>)> {
        // The cache does not have what other replicas have committed.
        let is_alone = self.shared.store.shared().is_none();
        let found = is_alone.then(|| self.shared.cache.since(id, after)).flatten();
        let (operation, transitions) = found?;
        let is_within = scope.contains(&operation.submission.tenant);
        is_within.then(|| (Operation::clone(&operation), transitions))
    }

    /// Watches a submission of [`Engine::submit_watched`]: a new operation from its first transition on, without a read
    /// of the store if this process is the only writer; one that existed before from its present state.
    pub async fn follow(
        &self,
        submitted: Submitted,
        include_progress: bool,
    ) -> Result<Watcher, EngineError> {
        let Submitted { operation, subscription, .. } = submitted;
        let (scope, id) = (operation.submission.tenant.clone().into(), operation.id());
        let Some(subscription) = subscription else {
            return Ok(self.watch(&scope, id, None, include_progress).await?.0);
        };
        let listening = self.listen(Topic::Operation(id)).await?;
        if listening.is_some() {
            // Finds what other replicas changed before the subscription took effect.
            let found = self.get(&scope, id).await?;
            self.shared.hub.known(id, found.life.revision);
        }
        let shared = Arc::clone(&self.shared);
        let operation = Operation::clone(&operation);
        Ok(Watcher::new(shared, subscription, operation, None, include_progress, listening))
    }

    /// Subscribes to hints of other replicas, and waits until the subscription takes effect.
    async fn listen(&self, topic: Topic) -> Result<Option<Listening>, EngineError> {
        let Some(store) = self.shared.store.shared() else { return Ok(None) };
        let mut listening = store.listen(topic);
        let clock = &self.shared.clock;
        tokio::select! {
            biased;
            () = listening.effective() => Ok(Some(listening)),
            () = clock.sleep_until_moment(clock.moment().after(LISTEN_TIMEOUT)) => {
                Err(EngineError::Unavailable("the store is not available".to_owned()))
            }
        }
    }

    /// Watches all matching operations of the scope.
    pub fn feed(
        &self,
        scope: impl Into<Scope>,
        filter: Filter,
        include_progress: bool,
        start: FeedStart,
    ) -> Feed {
        Feed::new(Arc::clone(&self.shared), scope.into(), filter, include_progress, start)
    }

    /// Changes when something may have been committed: a reason to read the log. Commits of other replicas do not
    /// always change it.
    pub fn commits(&self) -> watch::Receiver<()> {
        self.shared.hub.chain().touched()
    }

    /// The key that signs positions of watches over filters.
    pub fn signing_key(&self) -> SigningKey {
        self.shared.store.signing_key()
    }
}
