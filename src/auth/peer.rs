//! The client's certificate from the TLS handshake.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::service::echo;

/// The attribute of a name that is its common name (RFC 5280, appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Bytes that are not a certificate, or a certificate with unreadable names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read: {0}")]
pub struct UnreadableCertificate(String);

/// The names in a client's certificate, which the listener has verified. An extension of each request on the
/// connection. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(Arc<Names>);

#[derive(Debug, PartialEq, Eq)]
struct Names {
    common_name: Option<String>,
    dns: Vec<String>,
    uris: Vec<String>,
    emails: Vec<String>,
    fingerprint: String,
    expires_at_seconds: i64,
}

impl PeerCertificate {
    /// Reads the names of a certificate in DER. Signatures and dates are not checked.
    pub fn from_der(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let unreadable = |error: &dyn std::fmt::Display| UnreadableCertificate(error.to_string());
        let certificate = Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        let certificate = certificate.tbs_certificate;
        let (mut dns, mut uris, mut emails) = (Vec::new(), Vec::new(), Vec::new());
        let alternatives = certificate.get::<SubjectAltName>();
        let alternatives = alternatives.map_err(|error| unreadable(&error))?;
        for name in alternatives.iter().flat_map(|(_, names)| &names.0) {
            match name {
                GeneralName::DnsName(name) => dns.push(name.to_string()),
                GeneralName::UniformResourceIdentifier(uri) => uris.push(uri.to_string()),
                GeneralName::Rfc822Name(email) => emails.push(email.to_string()),
                _ => {}
            }
        }
        let fingerprint = Sha256::digest(der).iter().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let expires_at = certificate.validity.not_after.to_unix_duration().as_secs();
        let expires_at_seconds = i64::try_from(expires_at).unwrap_or(i64::MAX);
        Ok(Self(Arc::new(Names {
            common_name: common_name(&certificate.subject),
            dns,
            uris,
            emails,
            fingerprint,
            expires_at_seconds,
        })))
    }

    /// The subject's common name; `None` if the subject has none, or several.
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The DNS names among the subject's alternative names, in their original case.
    pub fn dns_names(&self) -> &[String] {
        &self.0.dns
    }

    /// The URIs among the subject's alternative names, e.g. SPIFFE ids.
    pub fn uris(&self) -> &[String] {
        &self.0.uris
    }

    /// The e-mail addresses among the subject's alternative names.
    pub fn emails(&self) -> &[String] {
        &self.0.emails
    }

    /// Whether the certificate has this name, of any type.
    pub fn has_name(&self, name: &str) -> bool {
        let Names { common_name, dns, uris, emails, .. } = &*self.0;
        let mut all = common_name.iter().chain(dns).chain(uris).chain(emails);
        all.any(|own| own == name)
    }

    /// The name by which a text for people names the certificate: the first that it has, or else its fingerprint.
    pub(super) fn shown_name(&self) -> String {
        let Names { common_name, dns, uris, emails, fingerprint, .. } = &*self.0;
        match common_name.iter().chain(dns).chain(uris).chain(emails).next() {
            Some(name) => format!("named {}", echo(name)),
            None => format!("with the fingerprint {fingerprint}"),
        }
    }

    /// SHA-256 of the certificate in DER, in 64 hexadecimal digits, like `openssl x509 -fingerprint -sha256` without
    /// colons and in lower case.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The end of the certificate's validity, in seconds since 1970. The listener checks it only in the handshake; a
    /// connection may outlast it.
    pub fn expires_at_seconds(&self) -> i64 {
        self.0.expires_at_seconds
    }
}

/// The only common name; with several, it would be a guess which one counts.
fn common_name(subject: &Name) -> Option<String> {
    let attributes = subject.0.iter().flat_map(|part| part.0.iter());
    let mut names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
    let (name, None) = (names.next()?, names.next()) else { return None };
    let is_text =
        matches!(name.value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    let text = std::str::from_utf8(name.value.value()).ok()?;
    is_text.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["Worker.test".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let uri = "spiffe://example.test/worker".try_into().unwrap();
        let email = "ops@example.test".try_into().unwrap();
        let address = SanType::IpAddress("127.0.0.1".parse().unwrap());
        params.subject_alt_names.extend([SanType::URI(uri), SanType::Rfc822Name(email), address]);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn all_names_are_read() {
        let der = certificate(&["worker-7"]);
        let peer = PeerCertificate::from_der(&der).unwrap();
        assert_eq!(peer.common_name(), Some("worker-7"));
        assert_eq!(peer.dns_names(), ["Worker.test"]);
        assert_eq!(peer.uris(), ["spiffe://example.test/worker"]);
        assert_eq!(peer.emails(), ["ops@example.test"]);
        assert_eq!(peer.expires_at_seconds(), 2_208_988_800);
        assert!(peer.has_name("worker-7") && peer.has_name("ops@example.test"));
        assert!(!peer.has_name("worker") && !peer.has_name(""));
        assert_eq!(peer.fingerprint().len(), 64);
        assert_eq!(PeerCertificate::from_der(&certificate(&[])).unwrap().common_name(), None);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let der = certificate(&["a"]);
        assert!(PeerCertificate::from_der(&der[..der.len() - 1]).is_err());
        assert!(PeerCertificate::from_der(&[&der[..], b"x"].concat()).is_err());
        assert!(PeerCertificate::from_der(b"").is_err());
    }

    proptest! {
        #[test]
        fn any_certificate_is_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let _ = PeerCertificate::from_der(&bytes);
            let mut der = certificate(&["a", "b"]);
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            let _ = PeerCertificate::from_der(&der);
        }
    }
}
