//! Live updates of a page: a stream of its parts, each sent when it has changed.
//!
//! A page consists of regions, and a region of parts, each with a key. After a change the page is rendered again, at a
//! rate that limits the cost, and the differences are sent. Nothing is computed from events, so nothing can be missed,
//! and a thousand changes a second cost as much as three.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::region::{Part, Region};
use super::visit::Visit;
use crate::operation::TenantId;
use crate::service::{FeedMessage, FeedStart, FeedStream, Service, ServiceError, parse_filter};

/// The shortest pause between two renderings. A page is to show a change within a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(400);
/// The pause as a multiple of the rendering's duration, so that an expensive page is rendered rarely.
const PAUSE_FACTOR: u32 = 4;
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The reason for the end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something may have changed.
    Changed,
    /// Nothing has happened for a while.
    Silence,
    /// The stream must end, and the browser reconnects.
    End,
}

/// A page that changes.
#[async_trait]
pub(super) trait Live: Send + 'static {
    /// Renders the present regions.
    async fn look(&mut self) -> Result<Vec<Region>, ServiceError>;

    /// Waits until there is a reason to render, and at least until `due`. Dropping the future loses nothing.
    async fn wait(&mut self, due: Instant) -> Result<Wake, ServiceError>;

    /// Whether nothing can change any more.
    fn is_over(&self) -> bool {
        false
    }
}

/// The feed of a page that is rendered at intervals: it counts as a watch of the tenant, and delivers only heartbeats
/// and its end.
pub(super) fn quiet_feed(visit: &Visit) -> Result<FeedStream, ServiceError> {
    let nothing = parse_filter("done=true AND done=false")?;
    visit.service().watch_all(&visit.caller, nothing, false, FeedStart::Now, None)
}

/// Waits for the time of the next rendering, unless the feed ends; changes are seen by that rendering.
pub(super) async fn until(again: Instant, feed: &mut FeedStream) -> Result<Wake, ServiceError> {
    loop {
        tokio::select! {
            message = feed.next() => match message {
                None => return Ok(Wake::End),
                Some(Err(error)) => return Err(error),
                Some(Ok(FeedMessage::Heartbeat)) => return Ok(Wake::Silence),
                Some(Ok(FeedMessage::Item(_))) => {}
            },
            () = sleep_until(again) => return Ok(Wake::Changed),
        }
    }
}

/// The parts that were sent.
#[derive(Debug, Default)]
struct Told {
    parts: HashMap<(&'static str, String), u64>,
    orders: BTreeMap<&'static str, u64>,
}

impl Told {
    /// The changed parts of these regions, in the form that the page's script reads.
    fn news(&mut self, regions: Vec<Region>) -> Vec<Value> {
        regions.into_iter().filter_map(|region| self.news_of(region)).collect()
    }

    fn news_of(&mut self, region: Region) -> Option<Value> {
        let Region { id, parts, is_more } = region;
        if is_more {
            // Such parts are never sent again, so they need not be remembered.
            let more = parts.into_iter().map(|part| json!([part.key, part.html]));
            let more: Vec<Value> = more.collect();
            return (!more.is_empty()).then(|| json!({"id": id, "more": more}));
        }
        let keys: Vec<&str> = parts.iter().map(|part| part.key.as_str()).collect();
        let order = digest(&keys);
        let is_same_order = self.orders.insert(id, order) == Some(order);
        let mut changed = Map::new();
        for Part { key, html } in &parts {
            let now = digest(html);
            if self.parts.insert((id, key.clone()), now) != Some(now) {
                changed.insert(key.clone(), html.clone().into());
            }
        }
        if !is_same_order {
            self.parts.retain(|(region, key), _| *region != id || keys.contains(&key.as_str()));
        }
        (!is_same_order || !changed.is_empty())
            .then(|| json!({"id": id, "order": keys, "parts": changed}))
    }
}

fn digest(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

struct Following<L> {
    service: Service,
    tenant: TenantId,
    page: L,
    told: Told,
    due: Instant,
    is_over: bool,
}

/// The stream of a page, beginning with its present state.
pub(super) fn follow(service: Service, tenant: TenantId, page: impl Live) -> Response {
    let delay = service.reconnect_delay();
    let (told, due, is_over) = (Told::default(), Instant::now(), false);
    let following = Following { service, tenant, page, told, due, is_over };
    let opening = format!("retry: {}\n\n", delay.as_millis());
    let events = stream::unfold(Some(following), |following| async move {
        let mut following = following.filter(|it| !it.is_over)?;
        let text = following.next().await?;
        Some((text, Some(following)))
    });
    let events = tokio_stream::StreamExt::chain(tokio_stream::once(opening), events);
    let body = tokio_stream::StreamExt::map(events, Ok::<String, Infallible>);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Makes nginx pass on each event at once.
        (http::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(body)).into_response()
}

impl<L: Live> Following<L> {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        match self.news().await {
            Ok(text) => text,
            Err(error) => {
                self.is_over = true;
                let told = json!({"title": error.reason.title(), "detail": error.message});
                Some(event("problem", &told))
            }
        }
    }

    async fn news(&mut self) -> Result<Option<String>, ServiceError> {
        let mut is_first = self.told.orders.is_empty();
        loop {
            if !std::mem::take(&mut is_first) {
                let wake = tokio::select! {
                    wake = self.page.wait(self.due) => wake?,
                    () = self.service.closing() => Wake::End,
                };
                match wake {
                    Wake::Changed => {}
                    Wake::Silence => return Ok(Some(": alive\n\n".to_owned())),
                    Wake::End => return Ok(None),
                }
            }
            // Many pages of one tenant would leave no processor to others.
            let turn = self.service.stream_turn(&self.tenant).await;
            let begun = Instant::now();
            let regions = self.page.look().await?;
            drop(turn);
            let now = Instant::now();
            let pause = (now - begun).saturating_mul(PAUSE_FACTOR);
            self.due = now + pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            let news = self.told.news(regions);
            self.is_over = self.page.is_over();
            if !news.is_empty() || self.is_over {
                let name = if self.is_over { "last" } else { "news" };
                return Ok(Some(event(name, &news.into())));
            }
        }
    }
}

fn event(name: &str, data: &Value) -> String {
    // Compact JSON has no line breaks, so it is one line of data.
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(parts: &[(&str, &str)]) -> Region {
        let part =
            |(key, html): &(&str, &str)| Part { key: (*key).to_owned(), html: (*html).to_owned() };
        Region { id: "rows", parts: parts.iter().map(part).collect(), is_more: false }
    }

    #[test]
    fn what_is_as_it_was_told_is_not_told_again() {
        let mut told = Told::default();
        let first = told.news(vec![region(&[("a", "1"), ("b", "2")])]);
        assert_eq!(
            first,
            [json!({"id": "rows", "order": ["a", "b"], "parts": {"a": "1", "b": "2"}})]
        );
        assert!(told.news(vec![region(&[("a", "1"), ("b", "2")])]).is_empty());
        let changed = told.news(vec![region(&[("c", "3"), ("a", "1"), ("b", "x")])]);
        let expected =
            json!({"id": "rows", "order": ["c", "a", "b"], "parts": {"c": "3", "b": "x"}});
        assert_eq!(changed, [expected]);
        assert_eq!(told.news(vec![region(&[("a", "1")])])[0]["parts"], json!({}));
        let again = told.news(vec![region(&[("a", "1"), ("b", "x")])]);
        assert_eq!(again[0]["parts"], json!({"b": "x"}), "what was gone is sent again");
        let more = Region { is_more: true, ..region(&[("9", "line")]) };
        assert_eq!(told.news(vec![more]), [json!({"id": "rows", "more": [["9", "line"]]})]);
    }
}
