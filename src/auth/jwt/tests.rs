//! Arbitrary bytes as tokens and key sets: only tokens that the issuer has signed are accepted.

use std::sync::Arc;

use ::ring::rand::SystemRandom;
use ::ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::engine::SystemClock;

const NOW: i64 = 1_800_000_000;

/// A verifier of tokens with its keys, and a valid token.
fn issuer() -> (Inner, KeySet, String) {
    ring::install();
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "x": x, "y": y}]});
    let config = TokenConfig {
        issuer: Some("issuer".to_owned()),
        audience: Some("longrun".to_owned()),
        ..TokenConfig::default()
    };
    let keys = KeySet::parse(set.to_string().as_bytes(), &config.allowed(), false).unwrap();
    let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let claims = json!({"iss": "issuer", "aud": "longrun", "exp": NOW + 60, "tenant": "a"});
    let signed = format!("{}.{}", part(json!({"alg": "ES256", "kid": "one"})), part(claims));
    let signature = pair.sign(&random, signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let (_, keys_of_nobody) =
        KeyReader::new(&config, crate::config::tokens::KeySource::File("none".into())).unwrap();
    let verified = Mutex::new(LruCache::new(REMEMBERED));
    let clock = Arc::new(SystemClock);
    (Inner { config, keys: keys_of_nobody, clock, verified }, keys, token)
}

/// Almost a header or claims.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let text = r#"\{"(alg|kid|crit|jwk|exp|aud)":("none"|"HS256"|"ES256"|"one"|\[\]|1e400|null|\{\}),?"(iss|nbf|zip)":.{0,20}\}"#;
    prop_oneof![text.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..120)]
}

proptest! {
    #[test]
    fn no_token_that_its_issuer_has_not_signed_is_good(
        header in part(), claims in part(), signature in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,80}",
    ) {
        let (inner, keys, good) = issuer();
        let [header, claims, signature] = [header, claims, signature].map(|it| URL_SAFE_NO_PAD.encode(it));
        let mut own = good.split('.');
        let (own_header, own_claims) = (own.next().unwrap(), own.next().unwrap());
        for token in [
            format!("{header}.{claims}.{signature}"),
            format!("{own_header}.{claims}.{signature}"),
            format!("{own_header}.{own_claims}.{signature}"),
            format!("{header}.{own_claims}."),
            text,
        ] {
            prop_assert!(inner.verify(&token, &keys, NOW).is_err(), "{}", token);
        }
    }

    #[test]
    fn a_token_with_a_change_is_not_good(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
        let (inner, keys, good) = issuer();
        prop_assert!(inner.verify(&good, &keys, NOW).is_ok());
        let at = at.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &letter);
        // The last letter of a part has unused bits, which must be zero.
        prop_assert_eq!(inner.verify(&changed, &keys, NOW).is_ok(), changed == good);
    }

    #[test]
    fn any_set_of_keys_is_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        member in r#""(kty|crv|alg|use|kid|n|e|x|y|k|key_ops)":("RSA"|"EC"|"oct"|"OKP"|"P-256"|"Ed25519"|"AQAB"|""|1|null|\[\])"#,
        more in r#""(kty|crv|x|n)":"(RSA|EC|oct|OKP|AQAB)""#,
    ) {
        let config = TokenConfig::default();
        let almost = format!("{{\"keys\": [{{{member},{more}}}, {{{more}}}, 1]}}");
        for document in [&bytes[..], almost.as_bytes()] {
            let read = KeySet::parse(document, &config.allowed(), false);
            prop_assert!(read.is_err(), "{:?}", read);
        }
    }
}
