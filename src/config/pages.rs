//! Decides whether there are pages; the only place for this rule.

use super::{ConfigError, ServeConfig, ShowPages};

/// The path of pages, beside `/`.
const PATH: &str = "/ui";

impl ServeConfig {
    /// Whether there are pages: as the flag says; by default if only this machine can reach the server, and nothing is
    /// mounted at their paths.
    pub fn has_pages(&self) -> bool {
        match self.browsers.pages {
            Some(pages) => pages == ShowPages::On,
            None => self.is_local() && self.mounted_at_pages().is_none(),
        }
    }

    /// Refuses pages that would replace what is mounted at their paths.
    pub(super) fn check_pages(&self) -> Result<(), ConfigError> {
        match self.mounted_at_pages().filter(|_| self.browsers.pages == Some(ShowPages::On)) {
            Some(prefix) => Err(ConfigError::Mounted(prefix)),
            None => Ok(()),
        }
    }

    /// Whether all addresses are loopback addresses.
    fn is_local(&self) -> bool {
        let plain = (!self.listen.no_plain).then_some(self.listen.addr);
        let mut addresses = plain.into_iter().chain(self.tls.listen);
        addresses.all(|address| address.ip().is_loopback())
    }

    /// The prefix of a mount that covers paths of pages.
    fn mounted_at_pages(&self) -> Option<String> {
        let relays = self.relay.iter().map(|mount| mount.prefix.clone());
        let dialects = self.dialects.iter();
        let dialects = dialects.filter(|mount| mount.covers(PATH) || mount.covers("/"));
        let dialects = dialects.map(|mount| mount.site.prefix.to_string());
        let is_there = |prefix: &String| {
            let rest = prefix.strip_prefix(PATH);
            prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = relays.filter(is_there).chain(dialects).next()?;
        Some(if found.is_empty() { "/".to_owned() } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;

    #[test]
    fn pages_are_for_this_machine_unless_the_flag_says_otherwise() {
        assert!(parse(&[]).has_pages());
        assert!(!parse(&["--pages", "off"]).has_pages());
        assert!(!parse(&["--listen", "0.0.0.0:80"]).has_pages());
        assert!(parse(&["--listen", "0.0.0.0:80", "--pages", "on"]).has_pages());
        let tls = ["--tls-listen", "0.0.0.0:443", "--tls-cert", "c", "--tls-key", "k"];
        assert!(!parse(&tls).has_pages());
    }

    #[test]
    fn pages_hide_no_mount() {
        for (prefix, is_hidden) in [("/", true), ("/ui", true), ("/ui/x", true), ("/uix", false)] {
            let mut config = parse(&[]);
            let file = format!(
                "[[relay]]\nname = \"a\"\nprefix = \"{prefix}\"\nupstream = \"http://127.0.0.1:1\"\n"
            );
            let files = &|_: &str| unreachable!("no file is named");
            config.relay = super::super::file::parse(&file, files).unwrap().relay;
            assert_eq!(config.has_pages(), !is_hidden, "{prefix}");
            config.browsers.pages = Some(super::super::ShowPages::On);
            assert_eq!(config.validate().is_err(), is_hidden, "{prefix}");
        }
    }
}
