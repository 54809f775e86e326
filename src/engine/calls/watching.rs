//! Watches, of one operation and over a filter.

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

/// How long a watch waits until changes of other replicas can be heard.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

impl Engine {
    /// Watches an operation from `after`, or from its present state. The operation as it was found comes
    /// along, for checks.
    pub async fn watch(
        &self,
        scope: &Scope,
        id: OperationId,
        after: Option<Revision>,
        include_progress: bool,
    ) -> Result<(Watcher, Operation), EngineError> {
        // Interest first, then the question: nothing can fall in between.
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

    /// What a client that has seen an operation up to `after` has missed, where that needs no store. It may be a commit
    /// behind what others have seen: this watch is told of that commit.
    fn at_hand(
        &self,
        scope: &Scope,
        id: OperationId,
        after: Revision,
    ) -> Option<(Operation, Vec<Committed>)> {
        // Others may have committed what is not in the cache.
        let is_alone = self.shared.store.shared().is_none();
        let found = is_alone.then(|| self.shared.cache.since(id, after)).flatten();
        let (operation, transitions) = found?;
        let is_within = scope.contains(&operation.submission.tenant);
        is_within.then(|| (Operation::clone(&operation), transitions))
    }

    /// Watches what was submitted to be watched: a new operation from its first transition on, and without asking the store
    /// unless others write to it as well; one that was there before from its present state.
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
            // What others did before they could be heard.
            let found = self.get(&scope, id).await?;
            self.shared.hub.known(id, found.life.revision);
        }
        let shared = Arc::clone(&self.shared);
        let operation = Operation::clone(&operation);
        Ok(Watcher::new(shared, subscription, operation, None, include_progress, listening))
    }

    /// Asks for hints of other replicas, and waits until they arrive.
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

    /// Watches all operations of a tenant, or of all, that match.
    pub fn feed(
        &self,
        scope: impl Into<Scope>,
        filter: Filter,
        include_progress: bool,
        start: FeedStart,
    ) -> Feed {
        Feed::new(Arc::clone(&self.shared), scope.into(), filter, include_progress, start)
    }

    /// Changes when something may have been committed: a reason to read the log. Where other replicas write as well, not
    /// whenever they do.
    pub fn commits(&self) -> watch::Receiver<()> {
        self.shared.hub.chain().touched()
    }

    /// The key that signs positions of watches over filters.
    pub fn signing_key(&self) -> SigningKey {
        self.shared.store.signing_key()
    }
}
