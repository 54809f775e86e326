//! Tokens of attempts: signed by the server, so that nothing must be stored, looked up or revoked.

use std::time::Duration;

use super::OperationName;
use crate::operation::{Attempt, Operation, OperationId, Reporter, SessionId};
use crate::store::log::SigningKey;

/// The type byte of attempts' tokens.
const SORT: u8 = 2;

/// Names an attempt, and grants the right to report on it and nothing else. It is valid across connections, restarts
/// and replicas, and useless once the attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptToken {
    id: OperationId,
    attempt: Attempt,
    session: SessionId,
}

impl AttemptToken {
    pub(super) fn of(operation: &Operation) -> Option<Self> {
        let session = operation.life.state.lease()?.session;
        Some(Self { id: operation.id(), attempt: operation.life.attempt, session })
    }

    /// How long the attempt's lease lasts without a sign of life; zero means forever.
    pub fn lease(&self) -> Duration {
        self.session.attempt_lease().unwrap_or_default()
    }

    /// The attempt's number.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// The session that holds the lease.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The operation's id.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The operation.
    pub fn name(&self) -> OperationName {
        OperationName { tenant: None, id: self.id }
    }

    pub(super) fn reporter(&self) -> Reporter {
        Reporter { attempt: self.attempt, session: self.session, former: None }
    }

    pub(super) fn sign(&self, key: &SigningKey) -> String {
        let Self { id, attempt, session } = self;
        let parts = [id.as_bytes(), &attempt.0.to_be_bytes()[..], session.as_bytes()];
        key.sign(SORT, &parts.concat())
    }

    pub(super) fn verify(text: &str, key: &SigningKey) -> Option<Self> {
        let bytes = key.verify(SORT, text)?;
        let (id, rest) = bytes.split_first_chunk()?;
        let (attempt, session) = rest.split_first_chunk()?;
        let session = SessionId::from_bytes(session.try_into().ok()?);
        session.attempt_lease()?;
        let attempt = Attempt(u32::from_be_bytes(*attempt));
        Some(Self { id: OperationId::from_bytes(*id), attempt, session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_attempt_and_for_nothing_else() {
        let key = SigningKey([1; 32]);
        let id = OperationId::from_bytes([7; 16]);
        let lease = Duration::from_secs(60);
        let session = SessionId::of_attempt(uuid::Uuid::from_bytes([9; 16]), lease);
        let token = AttemptToken { id, attempt: Attempt(3), session };
        let text = token.sign(&key);
        assert_eq!(AttemptToken::verify(&text, &key), Some(token));
        assert_eq!(token.lease(), lease);
        assert_eq!(AttemptToken::verify(&text, &SigningKey([2; 32])), None, "another store's");
        for (at, _) in text.char_indices() {
            let mut forged = text.clone();
            forged.replace_range(at..=at, if text[at..].starts_with('A') { "B" } else { "A" });
            assert_eq!(AttemptToken::verify(&forged, &key), None, "{at}");
        }
        let position = crate::store::log::Position::at(crate::store::log::Frontier::default());
        assert_eq!(AttemptToken::verify(&position.encode(&key), &key), None);
        let stream = AttemptToken { session: SessionId::from_bytes([9; 16]), ..token };
        assert_eq!(AttemptToken::verify(&stream.sign(&key), &key), None, "a stream's session");
    }
}
