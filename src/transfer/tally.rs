//! What one side has: counted and summed, record by record.

use super::catalogue;
use super::record::{Sum, Sums};
use crate::operation::OperationId;
use crate::store::Tombstone;

/// The sums of one side (SHA-256).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations.
    pub operations: u64,
    /// The sum of the operations.
    pub operations_sum: [u8; 32],
    /// The size of payloads in the store itself, in bytes.
    pub payload_bytes: u64,
    /// The sum of these payloads.
    pub payloads_sum: [u8; 32],
    /// Transitions and log lines.
    pub history_entries: u64,
    /// The sum of these entries.
    pub history_sum: [u8; 32],
    /// Tombstones.
    pub tombstones: u64,
    /// The sum of the tombstones.
    pub tombstones_sum: [u8; 32],
    /// Entries of the catalogue.
    pub catalogue: u64,
    /// The sum of these entries.
    pub catalogue_sum: [u8; 32],
    /// Deliveries of webhooks; for the source, with those of transitions that its server had not read.
    pub deliveries: u64,
    /// The sum of the deliveries.
    pub deliveries_sum: [u8; 32],
    /// Objects: for the source, those that are referred to; for the destination, those that were read and have the
    /// SHA-256 recorded with the operation.
    pub objects: u64,
}

/// Sums being computed.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) tally: Tally,
    operations: Sum,
    payloads: Sum,
    history: Sum,
    tombstones: Sum,
    catalogue: Sum,
    deliveries: Sum,
}

impl Counting {
    pub(super) fn add(&mut self, sums: &Sums) {
        self.tally.operations += 1;
        self.operations.bytes(&sums.operation);
        self.tally.payload_bytes += sums.payload_bytes;
        self.payloads.bytes(&sums.payloads);
        self.tally.history_entries += sums.history_entries;
        self.history.bytes(&sums.history);
    }

    pub(super) fn bury(&mut self, id: OperationId, tombstone: &Tombstone) {
        self.tally.tombstones += 1;
        self.tombstones.bytes(id.as_bytes());
        self.tombstones.bytes(tombstone.tenant.as_str().as_bytes());
        self.tombstones.bytes(&tombstone.purged_at.micros().to_be_bytes());
        self.tombstones.bytes(&tombstone.forget_at.micros().to_be_bytes());
    }

    pub(super) fn keep(&mut self, (space, name): &catalogue::Name, value: &[u8]) {
        self.tally.catalogue += 1;
        for part in [space.as_bytes(), name.as_bytes(), value] {
            self.catalogue.bytes(&(part.len() as u64).to_be_bytes());
            self.catalogue.bytes(part);
        }
    }

    pub(super) fn deliver(&mut self, sum: &[u8; 32]) {
        self.tally.deliveries += 1;
        self.deliveries.bytes(sum);
    }

    pub(super) fn end(self) -> Tally {
        Tally {
            operations_sum: self.operations.end(),
            payloads_sum: self.payloads.end(),
            history_sum: self.history.end(),
            tombstones_sum: self.tombstones.end(),
            catalogue_sum: self.catalogue.end(),
            deliveries_sum: self.deliveries.end(),
            ..self.tally
        }
    }
}
