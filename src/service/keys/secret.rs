//! Where the server's secret comes from.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, Change, ChangeError, Entry};
use crate::operation::secret::Secret;
use crate::store::SECRETS;

/// The secret that the store keeps where none is given. Then whoever can read the database can check guesses against what
/// is in it. Keys have 256 random bits, and cannot be guessed; passwords of owners can.
#[derive(Clone, Serialize, Deserialize)]
pub struct ServerSecret(String);

impl Entry for ServerSecret {
    const SPACE: &'static str = SECRETS;
}

impl ServerSecret {
    /// The store's secret, made if there is none.
    pub async fn of_store(catalogue: &mut Catalogue) -> Result<Secret, ChangeError> {
        const NAME: &str = "server";
        let space = catalogue.open::<Self>().await?;
        let mut random = [0; Secret::LEAST_BYTES];
        let source = rustls::crypto::ring::default_provider().secure_random;
        let away =
            |_| crate::store::StoreError::Unavailable("there are no random bytes".to_owned());
        source.fill(&mut random).map_err(away)?;
        let new = Self(BASE64_STANDARD_NO_PAD.encode(random));
        if let Some(found) = space.snapshot().get(NAME) {
            return Ok(found.secret());
        }
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
