//! The source of the server's secret.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::text::random;
use crate::catalogue::{Catalogue, Change, ChangeError, Entry};
use crate::operation::secret::Secret;
use crate::store::{SECRETS, StoreError};

/// The secret in the store, if no file has one. Then a reader of the database can check guesses against its codes. Keys
/// have 256 random bits and cannot be guessed; passwords of owners can.
#[derive(Clone, Serialize, Deserialize)]
pub struct ServerSecret(String);

impl Entry for ServerSecret {
    const SPACE: &'static str = SECRETS;
}

impl ServerSecret {
    /// The store's secret, created if there is none.
    pub async fn of_store(catalogue: &mut Catalogue) -> Result<Secret, ChangeError> {
        const NAME: &str = "server";
        let space = catalogue.open::<Self>().await?;
        if let Some(found) = space.snapshot().get(NAME) {
            return Ok(found.secret());
        }
        let random = random::<{ Secret::LEAST_BYTES }>().map_err(StoreError::Unavailable)?;
        let new = Self(BASE64_STANDARD_NO_PAD.encode(random));
        let kept = space.change::<_, ChangeError>(|before| match before.get(NAME) {
            Some(found) => Ok((Change { put: Vec::new(), delete: Vec::new() }, (**found).clone())),
            None => Ok((Change::put(NAME, new.clone()), new.clone())),
        });
        Ok(kept.await?.secret())
    }

    fn secret(&self) -> Secret {
        Secret::of(self.0.as_bytes())
    }
}
