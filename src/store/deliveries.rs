//! Rows of webhooks: deliveries to receivers and their outcome.
//!
//! Stored apart from operations, because a body must outlive its operation. One replica at a time sends; the next one
//! continues from the rows. Unlike a commit, a write here can be repeated, because a row's id identifies the delivery.

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::operation::closed_set::closed_set;
use crate::operation::{OperationId, TenantId, Timestamp};

/// A delivery's id: 16 bytes derived from operation, revision and receiver.
pub type DeliveryId = [u8; 16];

closed_set! {
    /// A delivery's state.
    pub enum DeliveryState {
        /// Not accepted yet: to be sent, or sent again.
        Pending = 1 "PENDING",
        /// Its receiver has accepted it.
        Delivered = 2 "DELIVERED",
        /// Given up.
        Dead = 3 "DEAD",
    }
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number, which rises; 0 until it is stored.
    pub number: u64,
    /// Its id.
    pub id: DeliveryId,
    /// The tenant.
    pub tenant: TenantId,
    /// The name of its webhook; empty if an earlier version stored it.
    pub webhook: String,
    /// The operation; all zero if an earlier version stored it.
    pub operation: OperationId,
    /// The receiver's endpoint; deliveries to one endpoint share a circuit breaker.
    pub endpoint: String,
    /// Its state.
    pub state: DeliveryState,
    /// When to send it; for a finished delivery, when it finished.
    pub due_at: Timestamp,
    /// Further data, as JSON.
    pub record: Bytes,
    /// The body to send. Lists leave it empty.
    pub body: Bytes,
}

/// The outcome of an attempt to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryChange {
    /// The delivery.
    pub id: DeliveryId,
    /// Its new state.
    pub state: DeliveryState,
    /// As in [`Delivery`].
    pub due_at: Timestamp,
    /// As in [`Delivery`].
    pub record: Bytes,
}

/// A receiver with pending deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEndpoint {
    /// As in [`Delivery`].
    pub endpoint: String,
    /// The tenant.
    pub tenant: TenantId,
    /// When its first delivery is due.
    pub due_at: Timestamp,
}

/// The pending deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The receivers that have waited longest, in this order across tenants.
    pub endpoints: Vec<WaitingEndpoint>,
    /// The number of all pending deliveries, also of receivers that are not listed.
    pub pending: u64,
}

/// A query for deliveries, the latest first.
#[derive(Clone, Debug)]
pub struct DeliveryQuery {
    /// The tenant.
    pub tenant: TenantId,
    /// The state; `None`: any.
    pub state: Option<DeliveryState>,
    /// The webhook's name; `None`: any.
    pub webhook: Option<String>,
    /// The operation; `None`: any.
    pub operation: Option<OperationId>,
    /// Only deliveries before this number; `None`: start at the latest.
    pub before: Option<u64>,
    /// The maximum number of deliveries that are read.
    pub limit: usize,
}

/// The deliveries to delete.
#[derive(Clone, Copy, Debug)]
pub struct ForgetDeliveries {
    /// Their state.
    pub state: DeliveryState,
    /// Deliveries that finished before this time.
    pub before: Timestamp,
    /// The number of deliveries that each tenant keeps.
    pub keep: u64,
    /// The maximum number at once.
    pub limit: usize,
}

/// The deliveries of a store. Each method is one durable transaction.
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// Stores new deliveries. Existing ones remain unchanged.
    async fn put_deliveries(&self, new: Vec<Delivery>) -> Result<(), StoreError>;

    /// Records the outcome of attempts to deliver. Deliveries that no longer exist are skipped.
    async fn change_deliveries(&self, changes: Vec<DeliveryChange>) -> Result<(), StoreError>;

    /// The receivers with pending deliveries of webhooks other than those in `except`, at most `limit` for each tenant.
    async fn waiting_endpoints(
        &self,
        except: Vec<String>,
        limit: usize,
    ) -> Result<Waiting, StoreError>;

    /// A receiver's due deliveries, earliest first, at most `limit`.
    async fn due_deliveries(
        &self,
        endpoint: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Postpones all deliveries to a receiver that are due before that time.
    async fn postpone_endpoint(&self, endpoint: &str, until: Timestamp) -> Result<(), StoreError>;

    /// A page of deliveries, without bodies.
    async fn list_deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>, StoreError>;

    /// A page of all deliveries of all tenants, with bodies, by rising number, beginning after `after`.
    async fn scan_deliveries(&self, after: u64, limit: usize) -> Result<Vec<Delivery>, StoreError>;

    /// A tenant's delivery.
    async fn delivery(
        &self,
        tenant: &TenantId,
        id: DeliveryId,
    ) -> Result<Option<Delivery>, StoreError>;

    /// Deletes old deliveries; returns how many.
    async fn forget_deliveries(&self, forget: ForgetDeliveries) -> Result<u64, StoreError>;

    /// Deletes all pending deliveries to a receiver; returns how many.
    async fn drop_endpoint(&self, endpoint: &str) -> Result<u64, StoreError>;
}
