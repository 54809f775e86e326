//! Watches over a filter.

use std::time::Duration;

use futures_util::future::OptionFuture;

use super::lifetime::{Lifetime, Pause};
use super::quotas::Watching;
use super::turns::Turns;
use super::{Action, Caller, Service, ServiceError};
pub use crate::engine::FeedItem;
use crate::engine::{self, Feed};
use crate::operation::TenantId;
use crate::operation::filter::Filter;
use crate::store::log::{Position, SigningKey};

/// A message of a watch over a filter.
#[derive(Clone, Debug)]
pub enum FeedMessage {
    /// News.
    Item(FeedItem),
    /// A heartbeat, after some silence.
    Heartbeat,
}

/// Where a watch over a filter begins.
#[derive(Clone, Copy, Debug)]
pub enum FeedStart<'a> {
    /// With current matches.
    Current,
    /// With changes from now on.
    Now,
    /// After the position in a message of an earlier watch over the same filter.
    After(&'a str),
}

/// A watch over a filter.
#[derive(Debug)]
pub struct FeedStream {
    feed: Feed,
    turns: Turns,
    tenant: TenantId,
    key: SigningKey,
    lifetime: Lifetime,
    ended: bool,
    _counted: Watching,
}

impl FeedStream {
    /// The next message; `None` when the client should resume.
    pub async fn next(&mut self) -> Option<Result<FeedMessage, ServiceError>> {
        if self.ended || self.lifetime.is_over() {
            return None;
        }
        let news = async {
            // Many watches that begin together would leave no processor to others.
            let tenant = self.feed.is_behind().then_some(&self.tenant);
            let _turn = OptionFuture::from(tenant.map(|tenant| self.turns.take(tenant))).await;
            self.feed.next().await
        };
        let message = tokio::select! {
            // News first: timers are set only if there are none.
            biased;
            item = news => Some(item.map(FeedMessage::Item).map_err(Into::into)),
            pause = self.lifetime.pause() => match pause {
                Pause::Heartbeat => Some(Ok(FeedMessage::Heartbeat)),
                Pause::End => None,
            },
        };
        self.lifetime.spoke();
        self.ended = !matches!(message, Some(Ok(_)));
        message
    }

    /// Skips what was committed before this call.
    pub async fn skip(&mut self) -> Result<(), ServiceError> {
        Ok(self.feed.skip().await?)
    }

    /// The position after the last message; `None`: start from the beginning.
    pub fn position(&self) -> Option<String> {
        self.feed.position().map(|position| position.encode(&self.key))
    }
}

impl Service {
    /// Watches all of the caller's operations that match the filter.
    pub fn watch_all(
        &self,
        caller: &Caller,
        filter: Filter,
        include_progress: bool,
        start: FeedStart<'_>,
        timeout: Option<Duration>,
    ) -> Result<FeedStream, ServiceError> {
        caller.may(Action::List)?;
        let _counted = self.begin_watch(caller, &self.meters().feeds)?;
        let filter = filter.of(caller.owner.as_ref());
        let key = self.engine.signing_key();
        let start = match start {
            FeedStart::Current => engine::FeedStart::Current,
            FeedStart::Now => engine::FeedStart::Now,
            // A position of another store is handled like one whose history is gone.
            FeedStart::After(token) => Position::decode(token, &key)
                .map_or(engine::FeedStart::Reset, engine::FeedStart::After),
        };
        let feed = self.engine.feed(caller.tenant.clone(), filter, include_progress, start);
        let lifetime = Lifetime::new(self, timeout);
        let (turns, tenant) = (self.stream_turns.clone(), caller.tenant.clone());
        Ok(FeedStream { feed, turns, tenant, key, lifetime, ended: false, _counted })
    }
}
