//! Callers by API key.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Given, Way};
use crate::engine::Clock;
use crate::service::keys::{Keys, PREFIX};
use crate::service::{Caller, ServiceError};

/// Identifies callers by API keys of the store or of the key file.
#[derive(Debug)]
pub struct ByKey {
    keys: Keys,
    clock: Arc<dyn Clock>,
}

impl ByKey {
    /// Accepts these keys, which expire by this clock.
    pub fn new(keys: Keys, clock: Arc<dyn Clock>) -> Self {
        Self { keys, clock }
    }
}

#[async_trait]
impl Way for ByKey {
    async fn identify(&self, given: Given<'_>) -> Option<Result<Caller, ServiceError>> {
        let token = given.token.filter(|token| token.starts_with(PREFIX))?;
        Some(self.keys.identify(token, self.clock.now()))
    }
}
