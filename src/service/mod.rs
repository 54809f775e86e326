//! Use cases, independent of transport: permissions, checks, results.
//!
//! Every use case takes a [`Caller`]; nothing crosses tenants. gRPC and HTTP decode, call this module, and encode:
//! everything that they share is here, once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;
use turns::Turns;

use quotas::Quotas;

use crate::engine::Engine;
use crate::objects::Objects;
use crate::operation::secret::Secret;
use crate::operation::{ChildCounts, Operation, OperationId, TenantId, Waiting};
pub use crate::operation::{Role, Roles};

pub mod access;
mod attempt_token;
mod attempts;
pub mod audit;
mod batch_kind;
mod batches;
mod budget;
mod caller;
mod children;
pub mod error;
mod feed;
mod filling;
mod identity;
pub mod keys;
mod lifetime;
mod limit_use;
mod list;
pub mod metrics;
mod operations;
mod page;
mod pauses;
mod payloads;
mod poll_after;
mod quotas;
mod reports;
mod retry;
mod room;
pub mod shares;
mod standing;
mod submissions;
mod tenant_limits;
mod turns;
mod uploads;
mod usage;
mod violations;
mod wait;
mod watch;
pub mod webhooks;
mod workers;

pub use crate::codes::code_name;
pub use crate::engine::{CoursePoint, StoreHealth};
pub use access::Action;
pub use attempt_token::AttemptToken;
pub use attempts::{Acquire, Acquired, MAX_ACQUIRED, MAX_ATTEMPT_LEASE, Renewal};
pub use audit::{Origin, RefusedByLimit};
pub use batch_kind::batch_kind_rule;
pub use batches::{ManySubmissions, ManySubmitted};
pub use budget::Budget;
pub use caller::Caller;
pub use error::{Reason, ServiceError, Violation, echo};
pub use feed::{FeedItem, FeedMessage, FeedStart, FeedStream};
pub use filling::Page;
pub use identity::{Identity, InProcess};
pub use lifetime::{Lifetime, Pause};
pub use limit_use::LimitUse;
pub use list::{HistoryRequest, ListParameters, ListRequest, parse_filter};
pub use operations::own_tenant;
pub use payloads::{ContentStream, Contents, Intake};
pub use quotas::{ConnectionTenants, RATE_WINDOW, Rate};
pub use reports::Report;
pub use room::{AnswerRoom, CallRoom, ConnectionRoom};
pub use standing::{
    KindRecord, MAX_LISTED, Percentiles, SystemFigures, WorkerFigures, WorkerRecord, WorkerState,
};
pub use submissions::Submitted;
pub use tenant_limits::{LimitRecord, TenantLimits};
pub use turns::Turn;
pub use uploads::ResultUploads;
pub use violations::Violations;
pub use watch::{WatchMessage, WatchOptions, WatchStream};
pub use workers::WorkerSession;

/// An operation's name in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationName {
    /// The tenant, if the name has one.
    pub tenant: Option<TenantId>,
    /// The id.
    pub id: OperationId,
}

/// The payload contents that an operation carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// No contents.
    Basic,
    /// The result's contents.
    Result,
    /// The contents of input and result.
    Full,
}

/// An operation with the payload contents of a view.
#[derive(Clone, Debug)]
pub struct Document {
    /// The operation.
    pub operation: Arc<Operation>,
    /// The input's contents, if the view includes them.
    pub input: Option<Bytes>,
    /// The result's contents, if the view includes them.
    pub result: Option<Bytes>,
    /// The numbers of its children, if it is a batch and they were requested.
    pub children: Option<ChildCounts>,
    /// Why it is not running, if it is queued and the reason was requested.
    pub waiting: Option<Waiting>,
}

/// The service's limits and defaults.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest payload, in bytes.
    pub max_payload_bytes: usize,
    /// The largest payload in a message, in bytes; larger ones are streamed.
    pub max_message_bytes: usize,
    /// Payloads larger than this many bytes are stored as objects; at least `inline_payload_bytes`.
    pub object_threshold_bytes: usize,
    /// The largest payload that an operation carries itself, in bytes.
    pub inline_payload_bytes: usize,
    /// How long a body may take to arrive (HTTP only).
    pub body_timeout: Duration,
    /// The maximum size of a page, or of a batch's response, in encoded bytes.
    pub page_bytes: usize,
    /// The default retention.
    pub default_retention: Duration,
    /// A stream sends a heartbeat after this much silence.
    pub heartbeat_interval: Duration,
    /// A stream ends at about this age (a fifth more or less), to be resumed.
    pub max_stream_age: Duration,
    /// The maximum number of attempts that one worker may run at once.
    pub max_in_flight: usize,
    /// A worker's leases last this long without a sign of life.
    pub lease_duration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload_bytes: 5 << 30,
            max_message_bytes: 4 << 20,
            object_threshold_bytes: 256 << 10,
            inline_payload_bytes: 64 << 10,
            body_timeout: Duration::from_secs(60),
            page_bytes: 3 << 20,
            default_retention: Duration::from_secs(7 * 24 * 3600),
            heartbeat_interval: Duration::from_secs(10),
            max_stream_age: Duration::from_secs(300),
            max_in_flight: 10_000,
            lease_duration: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// How often a worker must send a sign of life: three times per lease.
    pub fn worker_heartbeat_interval(&self) -> Duration {
        self.lease_duration / 3
    }

    /// The largest payload in a message, in bytes.
    pub fn max_message_payload_bytes(&self) -> usize {
        self.max_message_bytes.min(self.max_payload_bytes)
    }

    /// The largest message of a call, in bytes: a batch may be twice as large as a message with one payload, and there
    /// is room for the fields around a payload.
    pub fn max_call_bytes(&self) -> usize {
        self.max_message_bytes.saturating_mul(2).saturating_add(1 << 20)
    }
}

/// The maximum number of submissions in one call.
pub const MAX_BATCH: usize = 1_000;
/// The default duration of a wait: below 30 s, the shortest default idle limit of common proxies, with room for a slow
/// response. A unary call cannot send heartbeats.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(25);
/// The longest duration of a wait.
pub const MAX_WAIT: Duration = Duration::from_secs(300);

/// The use cases. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    engine: Engine,
    objects: Objects,
    limits: Arc<Limits>,
    quotas: Quotas,
    usage: usage::Usage,
    /// Cancelled when the server is asked to stop: it accepts no new work. `closing` cancels this one too.
    stopping: CancellationToken,
    /// Cancelled when the server closes its connections: long calls end, to be resumed elsewhere.
    closing: CancellationToken,
    /// The API keys, if callers have credentials.
    keys: Option<keys::Keys>,
    tenant_limits: Option<TenantLimits>,
    shares: Option<shares::Shares>,
    webhooks: Option<webhooks::Webhooks>,
    secret: Secret,
    oldest: metrics::Oldest,
    /// Turns of lists and histories.
    turns: Turns,
    /// Turns of streams: of watches that read what has happened before, and of pages that are rendered again.
    stream_turns: Turns,
}

impl Service {
    /// The use cases over `engine`, large payloads in `objects`. Long calls end when `closing` is cancelled.
    pub fn new(
        engine: Engine,
        objects: Objects,
        limits: Limits,
        closing: CancellationToken,
    ) -> Self {
        let stopping = closing.child_token();
        let secret = Secret::of(&engine.signing_key().0);
        let (limits, quotas) = (Arc::new(limits), Quotas::default());
        let usage = usage::Usage::default();
        let (keys, tenant_limits, shares, webhooks) = (None, None, None, None);
        let oldest = metrics::Oldest::default();
        let (turns, stream_turns) = (Turns::for_this_machine(), Turns::for_this_machine());
        Self {
            engine,
            objects,
            limits,
            quotas,
            usage,
            stopping,
            closing,
            keys,
            tenant_limits,
            shares,
            webhooks,
            secret,
            oldest,
            turns,
            stream_turns,
        }
    }

    /// Adds API keys to administer.
    #[must_use]
    pub fn with_keys(self, keys: keys::Keys) -> Self {
        Self { secret: keys.secret().clone(), keys: Some(keys), ..self }
    }

    /// Adds limits of tenants that operators set.
    #[must_use]
    pub fn with_tenant_limits(self, limits: TenantLimits) -> Self {
        Self { tenant_limits: Some(limits), ..self }
    }

    /// Adds shares of operations.
    #[must_use]
    pub fn with_shares(self, shares: shares::Shares) -> Self {
        Self { shares: Some(shares), ..self }
    }

    /// Adds webhooks.
    #[must_use]
    pub fn with_webhooks(self, webhooks: webhooks::Webhooks) -> Self {
        Self { webhooks: Some(webhooks), ..self }
    }

    /// The server's secret.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The limits and defaults.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Accepts no new work from now on. Calls and streams continue.
    pub fn begin_to_stop(&self) {
        self.stopping.cancel();
    }

    /// Whether the server has been asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Waits until a stream of the tenant may do what needs much of a processor; the turn ends when it is dropped.
    pub async fn stream_turn(&self, tenant: &TenantId) -> Turn {
        self.stream_turns.take(tenant).await
    }

    /// Returns when the server is asked to stop.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Returns when the server closes its connections: long calls must end, and none may begin.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Returns after the longest allowed silence of a stream.
    pub async fn silence(&self) {
        let clock = self.engine.clock();
        clock.sleep_until_moment(clock.moment().after(self.limits.heartbeat_interval)).await;
    }

    /// Watches whether the store accepts writes.
    pub fn store_health(&self) -> Receiver<StoreHealth> {
        self.engine.store_health()
    }

    /// Whether new work is accepted; the error says why not.
    pub fn ready(&self) -> Result<(), ServiceError> {
        if self.is_stopping() {
            return Err(ServiceError::stopping());
        }
        match &*self.engine.store_health().borrow() {
            StoreHealth::Writable => Ok(()),
            StoreHealth::Failing { reason, since } => Err(ServiceError {
                retry_after: Some(Duration::from_secs(1)),
                ..ServiceError::new(Reason::Unavailable, reason)
            }
            .with("since", error::rfc3339(*since))),
        }
    }

    /// The present time, by the engine's clock.
    pub fn now(&self) -> crate::operation::Timestamp {
        self.engine.clock().now()
    }
}

#[cfg(test)]
mod tests;
