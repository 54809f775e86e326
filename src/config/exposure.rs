//! The rule about addresses that other machines can reach.

use std::net::SocketAddr;

use super::{ConfigError, ServeConfig};

impl ServeConfig {
    /// Refuses addresses that other machines can reach if callers need no credentials.
    pub(super) fn check_exposure(&self, is_asked: bool) -> Result<(), ConfigError> {
        match self.exposed_to_all(is_asked) {
            Some((flag, address)) if !self.listen.insecure => {
                Err(ConfigError::Exposed { flag, address })
            }
            _ => Ok(()),
        }
    }

    /// The address, with its flag, that other machines can reach and that accepts callers without credentials or a
    /// certificate.
    pub fn open_address(&self) -> Option<(&'static str, SocketAddr)> {
        self.exposed_to_all(self.must_callers_be_known())
    }

    fn exposed_to_all(&self, is_asked: bool) -> Option<(&'static str, SocketAddr)> {
        let plain = (!self.listen.no_plain).then_some(("--listen", self.listen.addr));
        // TLS alone admits every caller.
        let open = self.tls.listen.filter(|_| !self.tls.asks_who_calls());
        let open = open.map(|address| ("--tls-listen", address));
        let is_exposed = |(_, address): &(_, SocketAddr)| !address.ip().is_loopback();
        plain.into_iter().chain(open).find(is_exposed).filter(|_| !is_asked)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::tests::parse;

    #[test]
    fn other_addresses_than_loopback_must_be_asked_for() {
        let error = parse(&["--listen", "0.0.0.0:80"]).validate().unwrap_err();
        assert!(error.to_string().starts_with("--listen 0.0.0.0:80"), "{error}");
        assert_eq!(parse(&["--listen", "0.0.0.0:80", "--insecure"]).validate(), Ok(()));
        let known = ["--listen", "0.0.0.0:80", "--key-file", "keys.toml"];
        assert_eq!(parse(&known).validate(), Ok(()));
        assert_eq!(parse(&["--listen", "0.0.0.0:80", "--auth", "required"]).validate(), Ok(()));
        assert_eq!(parse(&["--listen", "[::1]:0"]).validate(), Ok(()));
    }

    #[test]
    fn tls_lets_others_in_where_it_asks_who_they_are() {
        let tls = ["--tls-cert", "c", "--tls-key", "k", "--tls-listen", "0.0.0.0:443"];
        let error = parse(&tls).validate().unwrap_err().to_string();
        assert!(error.starts_with("--tls-listen 0.0.0.0:443"), "{error}");
        let asking = [&tls[..], &["--tls-client-ca", "a"]].concat();
        assert_eq!(parse(&asking).validate(), Ok(()));
        let optional = [&asking[..], &["--tls-client-auth", "optional"]].concat();
        assert!(parse(&optional).validate().is_err());
        assert_eq!(parse(&[&tls[..], &["--insecure"]].concat()).validate(), Ok(()));
    }

    #[test]
    fn flags_of_tls_need_each_other() {
        for flags in [
            &["--tls-listen", "127.0.0.1:1"][..],
            &["--tls-listen", "127.0.0.1:1", "--tls-cert", "c"],
            &["--tls-cert", "c", "--tls-key", "k"],
            &["--tls-client-ca", "a"],
            &["--tls-client-auth", "optional"],
            &["--no-plain"],
        ] {
            assert!(parse(flags).validate().is_err(), "{flags:?}");
        }
        let unix = parse(&["--no-plain", "--listen-unix", "unix:/run/a"]);
        assert_eq!((unix.validate(), unix.listen.unix), (Ok(()), Some(PathBuf::from("/run/a"))));
    }
}
