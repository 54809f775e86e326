//! Parses URLs: `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?PARAMETERS`.
//!
//! Handles the encryption parameters of libpq that the library lacks; the library handles the rest. No message contains
//! the password.

use tokio_postgres::Config;

/// Whether connections are encrypted, and whether the server's identity is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Never.
    Off,
    /// If the server supports it, without checking the server.
    Preferred,
    /// Always, without checking the server.
    Required,
    /// Always, with a server whose certificate is of a trusted authority, and of its host if `host` is set.
    Verified {
        /// Whether the certificate must have the host's name.
        host: bool,
    },
}

/// The server to connect to, and the connection's settings.
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) encryption: Encryption,
    /// The file of trusted root certificates.
    pub(super) root_certificates: Option<String>,
    /// Hosts and database, for messages.
    pub(super) name: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
        // The library takes everything before the first @ for user and password. The rest of a password would become a
        // host to resolve, or parameters that this check would not see.
        let is_misread = match address.matches('@').count() {
            0 => parameters.contains('@'),
            count => count > 1,
        };
        if is_misread {
            let how = "an @ or a ? of a user, a password or a parameter must be written %40 or %3F";
            return Err(how.to_owned());
        }
        let (mut sslmode, mut root_certificates) = (None, None);
        let mut others = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => sslmode = Some(mode),
                Some(("sslrootcert", file)) => root_certificates = Some(decoded(file)?),
                _ => others.push(parameter),
            }
        }
        // As in libpq: certificates that are named are used, and `system` means the system's.
        let is_named = root_certificates.is_some();
        let root_certificates = root_certificates.filter(|file| file != "system");
        let encryption = match sslmode {
            None if is_named => Encryption::Verified { host: true },
            None | Some("allow" | "prefer") => Encryption::Preferred,
            Some("disable") => Encryption::Off,
            Some("require") if is_named => Encryption::Verified { host: false },
            Some("require") => Encryption::Required,
            Some("verify-ca") => Encryption::Verified { host: false },
            Some("verify-full") => Encryption::Verified { host: true },
            Some(_) => {
                let modes = "disable, allow, prefer, require, verify-ca or verify-full";
                return Err(format!("sslmode must be {modes}"));
            }
        };
        let rest = match others.as_slice() {
            [] => address.to_owned(),
            others => format!("{address}?{}", others.join("&")),
        };
        let mut config: Config = rest.parse().map_err(|error| {
            // The text up to the first colon names the parameter, never its value.
            let error: tokio_postgres::Error = error;
            let cause = error.into_source().map(|cause| cause.to_string());
            format!("the URL cannot be read: {}", cause.unwrap_or_default())
        })?;
        if config.get_hosts().is_empty() {
            // The library makes no encrypted connection without a host name.
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        if config.get_hosts().is_empty() {
            return Err("the URL names no host, e.g. postgres://USER@HOST/DATABASE".to_owned());
        }
        Ok(Self { config, encryption, root_certificates, name: name(address) })
    }
}

/// The URL without user, password and parameters.
fn name(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("postgres", address));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|_| "sslrootcert is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio_postgres::config::Host;

    use super::*;

    fn refusal(url: &str) -> String {
        Target::parse(url).err().unwrap()
    }

    #[test]
    fn several_hosts_and_parameters_are_read() {
        let url = "postgres://me:p%40ss@a:1,b:2/jobs?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem\
                   &connect_timeout=3";
        let target = Target::parse(url).unwrap();
        assert_eq!(target.config.get_hosts().len(), 2);
        assert_eq!(target.config.get_ports(), [1, 2]);
        assert_eq!(target.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(target.encryption, Encryption::Verified { host: true });
        assert_eq!(target.root_certificates.as_deref(), Some("/etc/ca.pem"));
        assert_eq!(target.name, "postgres://a:1,b:2/jobs");
    }

    /// A name for TLS.
    #[test]
    fn an_address_is_its_own_name() {
        let target = Target::parse("postgres://me@/jobs?hostaddr=10.0.0.1&port=7").unwrap();
        assert_eq!(target.config.get_hosts(), [Host::Tcp("10.0.0.1".to_owned())]);
        assert_eq!(target.config.get_hostaddrs(), [IpAddr::from([10, 0, 0, 1])]);
    }

    #[test]
    fn encryption_is_what_sslmode_says() {
        for (mode, encryption) in [
            ("", Encryption::Preferred),
            ("?sslmode=disable", Encryption::Off),
            ("?sslmode=allow", Encryption::Preferred),
            ("?sslmode=require", Encryption::Required),
            ("?sslmode=verify-ca", Encryption::Verified { host: false }),
            ("?sslrootcert=ca.pem", Encryption::Verified { host: true }),
            ("?sslrootcert=system", Encryption::Verified { host: true }),
            ("?sslmode=require&sslrootcert=ca.pem", Encryption::Verified { host: false }),
        ] {
            let target = Target::parse(&format!("postgresql://h/d{mode}")).unwrap();
            assert_eq!(target.encryption, encryption, "{mode}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_without_the_password() {
        for (url, word) in [
            ("postgres://u:secret@h/d?sslmode=yes", "sslmode"),
            ("postgres://u:secret@h/d?color=red", "color"),
            ("postgres://u:secret@h:port/d", "port"),
            ("postgres://u:secret@/d", "host"),
            ("postgres://u:secret?@h/d?sslmode=require", "%3F"),
            ("postgres://u:a@secret@h/d", "%40"),
            ("postgres://u:secret@h/d?connect_timeout=soon", "connect_timeout"),
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains(word) && !refusal.contains("secret"), "{url}: {refusal}");
        }
    }
}
