//! Arbitrary texts as tokens, keys and names: each is decoded or refused, and no forged one is accepted.

use proptest::prelude::*;

use super::keys::{KeyText, is_id};
use super::{AttemptToken, shares};
use crate::operation::{Kind, OperationId, TenantId};
use crate::store::log::{Position, SigningKey};

/// Almost a key, or almost the token of a share.
fn almost_a_key() -> impl Strategy<Value = String> {
    "(lr_|lrs_|LR_)?[a-z2-7]{14,18}_?[a-z2-7]{50,62}.{0,2}"
}

proptest! {
    #[test]
    fn any_text_is_a_key_or_none(text in prop_oneof![any::<String>(), almost_a_key()]) {
        for key in [KeyText::parse(&text), KeyText::parse_as(shares::PREFIX, &text)] {
            // A checksum has 25 bits, so none of these few texts has a right one.
            prop_assert_eq!(key, None);
        }
        let _ = is_id(&text);
    }

    #[test]
    fn a_key_with_a_change_is_none(at in 0_usize..80, bytes in any::<char>()) {
        let text = KeyText::generate().unwrap().text();
        let mut changed: Vec<char> = text.chars().collect();
        changed[at] = bytes;
        let changed: String = changed.into_iter().collect();
        prop_assert_eq!(KeyText::parse(&changed).is_some(), changed == text);
    }

    #[test]
    fn any_text_is_no_token_that_a_server_has_signed(
        text in prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,90}", "Ag[A-Za-z0-9_-]{60,66}"],
        key in any::<[u8; 32]>(),
    ) {
        let key = SigningKey(key);
        prop_assert_eq!(AttemptToken::verify(&text, &key), None);
        prop_assert_eq!(Position::decode(&text, &key), None);
    }

    /// Such bytes could come from the key's holder, or from a server of another version.
    #[test]
    fn any_signed_bytes_are_read_or_refused(sort in 0_u8..4, bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let key = SigningKey([7; 32]);
        let text = key.sign(sort, &bytes);
        let _ = AttemptToken::verify(&text, &key);
        let _ = Position::decode(&text, &key);
    }

    #[test]
    fn any_text_is_a_name_or_none(text in prop_oneof![any::<String>(), "[0-9a-fA-F-]{35,37}", "[a-z.-]{0,130}"]) {
        if let Ok(id) = OperationId::parse(&text) {
            prop_assert_eq!(id.to_string(), text.clone());
        }
        if let Ok(tenant) = TenantId::parse(&text) {
            prop_assert_eq!(tenant.as_str(), text.clone());
        }
        if let Ok(kind) = Kind::parse(&text) {
            prop_assert_eq!(kind.as_str(), text);
        }
    }
}
