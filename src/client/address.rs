//! The address of a server, as given by users.

use std::net::IpAddr;

use http::Uri;

/// How safe the way to a server is from readers.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// The connection uses TLS.
    Encrypted,
    /// The connection does not leave this machine.
    OnThisMachine,
    /// The connection leaves this machine, and is unencrypted.
    Exposed,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Plain HTTP.
    Plain(Uri),
    /// HTTP over TLS.
    Tls(Uri),
    /// A Unix socket, as `unix:PATH`.
    Unix(String),
}

impl Address {
    /// Parses `http://` and `https://` with a host and an optional port, `unix:PATH`, and `host:port` as
    /// `http://host:port`. Refuses parts that would be ignored.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        Self::read(url).map_err(|rule| format!("{rule}, e.g. http://127.0.0.1:7420"))
    }

    fn read(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(format!("{url}: must have a path after unix:"));
            }
            return Ok(Self::Unix(format!("unix:{path}")));
        }
        if url.is_empty() {
            return Err("'': must be a URL".to_owned());
        }
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = url.parse().map_err(|error| format!("{url}: must be a URL ({error})"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(format!("{url}: must have a host"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            // Not repeated, because it may be a password.
            return Err(
                "the server's URL must have no user: credentials are given as a token".to_owned()
            );
        }
        if uri.path_and_query().is_some_and(|rest| rest != "/") {
            return Err(format!("{url}: must end after the host and the port"));
        }
        match uri.scheme_str() {
            Some("http") => Ok(Self::Plain(uri)),
            Some("https") => Ok(Self::Tls(uri)),
            _ => Err(format!("{url}: must begin with http://, https:// or unix:")),
        }
    }

    /// How safe a connection to it is from readers.
    #[cfg(feature = "server")]
    pub(super) fn privacy(&self) -> Privacy {
        match (self, self.exposed_host()) {
            (Self::Tls(_), _) => Privacy::Encrypted,
            (_, Some(_)) => Privacy::Exposed,
            (_, None) => Privacy::OnThisMachine,
        }
    }

    /// The host, if the connection is unencrypted and leaves this machine.
    pub(super) fn exposed_host(&self) -> Option<&str> {
        let Self::Plain(uri) = self else { return None };
        uri.host().filter(|host| {
            let name = host.trim_start_matches('[').trim_end_matches(']');
            let is_loopback = name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
            !is_loopback && !host.eq_ignore_ascii_case("localhost")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_would_not_be_followed_are_refused() {
        for wrong in
            ["http://", "ftp://x", "http://x/y", "http://x/?y", "https://x/y", "unix:", "unix://"]
        {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
        for right in ["localhost:7000", "http://localhost:7000", "http://localhost:7000/"] {
            assert!(matches!(Address::parse(right), Ok(Address::Plain(_))), "{right}");
        }
        assert!(matches!(Address::parse("https://localhost:7000"), Ok(Address::Tls(_))));
        for right in ["unix:/run/a", "unix:///run/a"] {
            assert_eq!(Address::parse(right), Ok(Address::Unix("unix:/run/a".to_owned())));
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let error = Address::parse("https://me:secret@host").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_name_without_a_scheme_leaves_this_machine_unencrypted() {
        let privacy = |url| Address::parse(url).unwrap().privacy();
        for url in ["jobs.example.com", "jobs:7420", "http://10.0.0.1"] {
            assert_eq!(privacy(url), Privacy::Exposed, "{url}");
        }
        for url in ["127.0.0.1:7420", "localhost", "unix:/run/longrun.sock"] {
            assert_eq!(privacy(url), Privacy::OnThisMachine, "{url}");
        }
        assert_eq!(privacy("https://localhost"), Privacy::Encrypted);
    }

    #[test]
    fn only_this_machine_is_reached_unseen_without_tls() {
        let exposed = |url| Address::parse(url).unwrap().exposed_host().map(str::to_owned);
        for unseen in ["localhost:1", "127.0.0.1:1", "http://[::1]:1", "https://a", "unix:/a"] {
            assert_eq!(exposed(unseen), None, "{unseen}");
        }
        for seen in ["a:1", "http://10.0.0.1", "http://localhost.a", "[::2]:1"] {
            assert!(exposed(seen).is_some(), "{seen}");
        }
    }
}
