//! The cryptography of JSON Web Tokens by ring, which TLS also uses, so that no second library is needed.
//!
//! Verification only. Keys that ring refuses, such as RSA keys below 2,048 bits, are refused here too.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::signature::{self as ring_signature, RsaParameters, RsaPublicKeyComponents};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    // Keys come from sets whose parts are used directly, so none of these is called.
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |_, _| Err(unsupported()),
    },
};

/// Makes this the process's provider, unless there is one.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

fn unsupported() -> Error {
    ErrorKind::UnsupportedAlgorithm.into()
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(unsupported())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(ByRing { algorithm: *algorithm, key: key.clone() }))
}

struct ByRing {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let no = |_| signature::Error::new();
        match (self.key.kind(), rsa(self.algorithm)) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, Some(parameters)) => {
                // A set may contain leading zeros, which ring refuses.
                let (n, e) = (without_zeros(n), without_zeros(e));
                let verified =
                    RsaPublicKeyComponents { n, e }.verify(parameters, message, signature);
                verified.map_err(no)
            }
            (DecodingKeyKind::SecretOrDer(key), None) => match hmac(self.algorithm) {
                Some(hash) => {
                    let key = hmac::Key::new(hash, key);
                    hmac::verify(&key, message, signature).map_err(no)
                }
                None => {
                    let curve: &dyn ring_signature::VerificationAlgorithm = match self.algorithm {
                        Algorithm::ES256 => &ring_signature::ECDSA_P256_SHA256_FIXED,
                        Algorithm::ES384 => &ring_signature::ECDSA_P384_SHA384_FIXED,
                        Algorithm::EdDSA => &ring_signature::ED25519,
                        _ => return Err(signature::Error::new()),
                    };
                    let key = ring_signature::UnparsedPublicKey::new(curve, key);
                    key.verify(message, signature).map_err(no)
                }
            },
            _ => Err(signature::Error::new()),
        }
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    &bytes[start..]
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &ring_signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &ring_signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &ring_signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn hmac(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    Some(match algorithm {
        Algorithm::HS256 => hmac::HMAC_SHA256,
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Validation, decode};
    use serde_json::{Map, Value, json};

    use super::*;

    /// RFC 7515, appendix A.2.
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5juj\
        Gbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe\
        7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8\
        np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1\
        Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5\
        rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFv\
        UK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

    fn verified(key: &DecodingKey, token: &str) -> bool {
        install();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        decode::<Map<String, Value>>(token, key, &validation).is_ok()
    }

    #[test]
    fn the_example_of_the_rfc_is_verified_and_no_other() {
        let key = DecodingKey::from_rsa_components(MODULUS, "AQAB").expect("a key");
        assert!(verified(&key, TOKEN));
        assert!(!verified(&key, &TOKEN.replacen("cC4", "cC5", 1)));
        assert!(!verified(&key, &TOKEN.replacen("Ijp0", "Ijp1", 1)));
        let zeros = format!("AAAA{MODULUS}");
        assert!(verified(&DecodingKey::from_rsa_components(&zeros, "AQAB").expect("a key"), TOKEN));
        let secret = DecodingKey::from_secret(MODULUS.as_bytes()).expect("a secret");
        assert!(!verified(&secret, TOKEN), "a key of another family");
    }

    #[test]
    fn a_set_keeps_what_can_be_used() {
        use crate::auth::jwt::keys::KeySet;
        let rsa = json!({"kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB", "use": "sig"});
        let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA";
        let oct = json!({"kty": "oct", "kid": "s", "k": secret});
        let others = [
            json!({"kty": "RSA", "kid": "e", "n": MODULUS, "e": "AQAB", "use": "enc"}),
            json!({"kty": "oct", "kid": "t", "k": "c2hvcnQ"}),
            json!({"kty": "new", "kid": "n"}),
            json!(7),
        ];
        let all: Vec<Value> = [rsa, oct].into_iter().chain(others).collect();
        let document = json!({ "keys": all }).to_string();
        let allowed = [Algorithm::RS256, Algorithm::HS256];
        let parse = |local| KeySet::parse(document.as_bytes(), &allowed, local).expect("a set");
        assert_eq!(parse(true).len(), 2);
        assert_eq!(parse(false).len(), 1, "a secret from a URL");
        assert_eq!(parse(true).of(Some("r"), Algorithm::RS256).count(), 1);
        assert_eq!(parse(true).of(Some("r"), Algorithm::HS256).count(), 0);
        assert_eq!(parse(true).of(Some("x"), Algorithm::RS256).count(), 0);
        assert!(KeySet::parse(b"{}", &allowed, true).is_err());
        assert!(KeySet::parse(b"{\"keys\":[]}", &allowed, true).is_err());
    }
}
