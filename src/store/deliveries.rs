//! Rows of webhooks: what is to be sent to receivers, and what became of it.
//!
//! Kept beside operations, because a body has to survive its operation. One replica at a time sends; the rows are what
//! the next one goes on with. Unlike a commit, a write here can be repeated: a row's id says what it is of.

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::operation::closed_set::closed_set;
use crate::operation::{OperationId, TenantId, Timestamp};

/// What a delivery is known by: 16 bytes, made of operation, revision and receiver.
pub type DeliveryId = [u8; 16];

closed_set! {
    /// What became of a delivery.
    pub enum DeliveryState {
        /// It is to be sent, or sent again.
        Pending = 1 "PENDING",
        /// Its receiver has accepted it.
        Delivered = 2 "DELIVERED",
        /// It was given up.
        Dead = 3 "DEAD",
    }
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its place among all, which rises; 0 until it is stored.
    pub number: u64,
    /// What it is known by.
    pub id: DeliveryId,
    /// The tenant.
    pub tenant: TenantId,
    /// The name of its webhook; empty if an earlier version stored it.
    pub webhook: String,
    /// The operation; all zero if an earlier version stored it.
    pub operation: OperationId,
    /// What shares a receiver's patience.
    pub endpoint: String,
    /// What became of it.
    pub state: DeliveryState,
    /// When to send it; of one that is over, when it was.
    pub due_at: Timestamp,
    /// What else is known of it, as JSON.
    pub record: Bytes,
    /// What is sent. Lists leave it empty.
    pub body: Bytes,
}

/// What became of a delivery that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryChange {
    /// Which.
    pub id: DeliveryId,
    /// What became of it.
    pub state: DeliveryState,
    /// As in [`Delivery`].
    pub due_at: Timestamp,
    /// As in [`Delivery`].
    pub record: Bytes,
}

/// A receiver that something is to be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEndpoint {
    /// As in [`Delivery`].
    pub endpoint: String,
    /// The tenant.
    pub tenant: TenantId,
    /// When the first is due.
    pub due_at: Timestamp,
    /// How many there are.
    pub count: u64,
}

/// Which deliveries to list, the latest first.
#[derive(Clone, Debug)]
pub struct DeliveryQuery {
    /// Whose.
    pub tenant: TenantId,
    /// In which state; in any if `None`.
    pub state: Option<DeliveryState>,
    /// Of the webhook of this name; of any if `None`.
    pub webhook: Option<String>,
    /// Of this operation; of any if `None`.
    pub operation: Option<OperationId>,
    /// Those before this number; from the latest on if `None`.
    pub before: Option<u64>,
    /// At most this many are looked at.
    pub limit: usize,
}

/// Which deliveries to forget.
#[derive(Clone, Copy, Debug)]
pub struct ForgetDeliveries {
    /// In which state.
    pub state: DeliveryState,
    /// Those that were over before this time.
    pub before: Timestamp,
    /// The number of deliveries kept of each tenant.
    pub keep: u64,
    /// At most this many at once.
    pub limit: usize,
}

/// The part of a store that keeps deliveries. Each method is one durable transaction.
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// Stores new ones. What is there already stays as it is.
    async fn put_deliveries(&self, new: Vec<Delivery>) -> Result<(), StoreError>;

    /// Notes what became of those that were tried. What is not there any more is left out.
    async fn change_deliveries(&self, changes: Vec<DeliveryChange>) -> Result<(), StoreError>;

    /// The receivers that something is to be sent to, at most `limit` of each tenant: those that have waited longest, and
    /// those of all tenants in this order.
    async fn waiting_endpoints(&self, limit: usize) -> Result<Vec<WaitingEndpoint>, StoreError>;

    /// The pending ones of a receiver that are due, earliest first, at most `limit`.
    async fn due_deliveries(
        &self,
        endpoint: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Puts off all that is to be sent to a receiver before that time.
    async fn postpone_endpoint(&self, endpoint: &str, until: Timestamp) -> Result<(), StoreError>;

    /// A page, without bodies.
    async fn list_deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>, StoreError>;

    /// A page of all deliveries of all tenants, with bodies, by rising number, beginning after `after`.
    async fn scan_deliveries(&self, after: u64, limit: usize) -> Result<Vec<Delivery>, StoreError>;

    /// A tenant's delivery.
    async fn delivery(
        &self,
        tenant: &TenantId,
        id: DeliveryId,
    ) -> Result<Option<Delivery>, StoreError>;

    /// Deletes old ones; returns how many.
    async fn forget_deliveries(&self, forget: ForgetDeliveries) -> Result<u64, StoreError>;

    /// Deletes all that are to be sent to a receiver; returns how many.
    async fn drop_endpoint(&self, endpoint: &str) -> Result<u64, StoreError>;
}
