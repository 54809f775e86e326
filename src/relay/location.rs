//! URLs in an upstream's response, made usable for clients of the mount: pure functions of text.
//!
//! An upstream names itself by an address that clients may not reach, or by a path that is different here. A URL
//! relative to the request's URL has another meaning when the response is repeated under another URL.

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};

use crate::config::relay::Mount;

/// The request of a response, and the client's view of this server.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The mount of the request.
    pub mount: &'a Mount,
    /// This server's URL for clients, without a trailing slash; empty if unknown.
    pub base: &'a str,
    /// The host of the request; the upstream got it if the mount preserves it.
    pub host: Option<&'a str>,
    /// Path and query of the request, after the mount's prefix.
    pub target: &'a str,
}

impl Place<'_> {
    /// Rewrites URLs that name the upstream, if the mount wants it: for a response under the request's own URL.
    pub fn rewrite(&self, headers: &mut HeaderMap) {
        if self.mount.rewrite_locations {
            edit(headers, |reference| self.at_mount(reference));
        }
    }

    /// Like [`Self::rewrite`], and makes all other references absolute: for a response under another URL.
    pub fn resolve(&self, headers: &mut HeaderMap) {
        edit(headers, |reference| {
            let rewritten = self.at_mount(reference).filter(|_| self.mount.rewrite_locations);
            self.absolute(rewritten.as_deref().unwrap_or(reference)).or(rewritten)
        });
    }

    /// The mount's URL for one of the upstream, which must have a host or at least an absolute path; without a host,
    /// the result has none.
    fn at_mount(&self, reference: &str) -> Option<String> {
        let upstream = &self.mount.upstream;
        let (base, path) = match split_host(reference) {
            Some((scheme, host, path)) => {
                let is_upstream = scheme.is_none_or(|it| it == upstream.scheme.as_str())
                    && is_same_host(host, upstream.authority.as_str(), upstream.scheme.as_str());
                let preserved = self.host.filter(|_| self.mount.preserve_host);
                let is_own = preserved.is_some_and(|own| own.eq_ignore_ascii_case(host));
                (is_upstream || is_own).then_some((self.base, path))?
            }
            None if reference.starts_with('/') => (self.origin_and_root().1, reference),
            None => return None,
        };
        let rest = path.strip_prefix(upstream.path.as_str())?;
        let is_below = rest.is_empty() || rest.starts_with(['/', '?', '#']);
        is_below.then(|| format!("{base}{}{rest}", self.mount.prefix))
    }

    /// Scheme and host of this server, and its path prefix.
    fn origin_and_root(&self) -> (&str, &str) {
        match split_host(self.base) {
            Some((_, _, root)) => (self.base.strip_suffix(root).unwrap_or(self.base), root),
            None => ("", self.base),
        }
    }

    /// The reference resolved against the request's own URL (RFC 3986, section 5.2); `None` if it is absolute already.
    fn absolute(&self, reference: &str) -> Option<String> {
        if let Some((scheme, ..)) = split_host(reference) {
            let own = self.base.split("://").next().filter(|_| self.base.contains("://"));
            return scheme.is_none().then(|| format!("{}:{reference}", own.unwrap_or("http")));
        }
        if has_scheme(reference) {
            return None;
        }
        let (origin, root) = self.origin_and_root();
        if reference.starts_with('/') {
            return Some(format!("{origin}{reference}"));
        }
        let own = format!("{root}{}{}", self.mount.prefix, self.target);
        let (own_path, _) = own.split_once('?').unwrap_or((&own, ""));
        let path = match reference.as_bytes().first() {
            None | Some(b'#') => format!("{own}{reference}"),
            Some(b'?') => format!("{own_path}{reference}"),
            Some(_) => {
                let folder = own_path.rsplit_once('/').map_or("", |(folder, _)| folder);
                without_dots(&format!("{folder}/{reference}"))
            }
        };
        Some(format!("{origin}{path}"))
    }
}

/// Scheme, host and the rest of a reference that has a host; the scheme may be missing.
fn split_host(reference: &str) -> Option<(Option<&str>, &str, &str)> {
    let (scheme, rest) = match reference.strip_prefix("//") {
        Some(rest) => (None, rest),
        None => {
            let (scheme, rest) = reference.split_once("://").filter(|_| has_scheme(reference))?;
            (Some(scheme), rest)
        }
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    Some((scheme, host, path))
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?', '#']);
    end.is_some_and(|end| {
        reference[end..].starts_with(':')
            && reference[..end].starts_with(|first: char| first.is_ascii_alphabetic())
    })
}

fn is_same_host(host: &str, other: &str, scheme: &str) -> bool {
    let default = if scheme == "https" { ":443" } else { ":80" };
    let plain = |host: &str| host.strip_suffix(default).unwrap_or(host).to_ascii_lowercase();
    plain(host) == plain(other)
}

/// The path with its dot segments removed (RFC 3986, section 5.2.4). Query and fragment stay as they are.
fn without_dots(reference: &str) -> String {
    let end = reference.find(['?', '#']).unwrap_or(reference.len());
    let (path, rest) = reference.split_at(end);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
        if is_last && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}{rest}", kept.join("/"))
}

/// Changes the references in all fields that have some.
fn edit(headers: &mut HeaderMap, change: impl Fn(&str) -> Option<String>) {
    for name in [LOCATION, CONTENT_LOCATION] {
        edit_field(headers, &name, &change);
    }
    edit_field(headers, &LINK, |links| {
        let mut edited = String::new();
        let mut left = links;
        // A target is between `<` and `>`; parameters after it may have either in quotes.
        while let Some((before, target, behind)) = next_target(left) {
            edited.push_str(before);
            edited.push_str(change(target).as_deref().unwrap_or(target));
            left = behind;
        }
        edited.push_str(left);
        Some(edited)
    });
}

fn edit_field(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&str) -> Option<String>) {
    let edited = |value: &HeaderValue| {
        let changed = value.to_str().ok().and_then(&change);
        changed.and_then(|text| HeaderValue::try_from(text).ok()).unwrap_or_else(|| value.clone())
    };
    let values: Vec<HeaderValue> = headers.get_all(name).iter().map(edited).collect();
    headers.remove(name);
    headers.extend(values.into_iter().map(|value| (name.clone(), value)));
}

/// The text up to the next link's target, with `<`; the target; and the rest, from `>`.
fn next_target(text: &str) -> Option<(&str, &str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    let begin = text.find(|character| {
        let was_escaped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => return character == '<' && !quoted,
        }
        false
    })?;
    let (before, rest) = text.split_at(begin + 1);
    let end = rest.find('>')?;
    Some((before, &rest[..end], &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(more: &str) -> Mount {
        let text = format!(
            "[[relay]]\nname = \"a\"\nprefix = \"/api\"\nupstream = \"http://up:9000/base\"\n{more}"
        );
        let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        crate::config::file::parse(&text, &no_files).unwrap().relay.remove(0)
    }

    /// A reference as passed through, and as repeated under another URL.
    fn both(mount: &Mount, base: &str, field: HeaderName, reference: &str) -> [String; 2] {
        let place = Place { mount, base, host: Some("front.test"), target: "/things/7?x=1" };
        [Place::rewrite, Place::resolve].map(|edit| {
            let value = HeaderValue::from_str(reference).unwrap();
            let mut headers: HeaderMap = [(field.clone(), value)].into_iter().collect();
            edit(&place, &mut headers);
            headers[&field].to_str().unwrap().to_owned()
        })
    }

    #[test]
    fn what_names_the_upstream_becomes_the_mounts_and_the_rest_absolute() {
        let front = "https://front.test/lro";
        for (reference, passed, resolved) in [
            ("http://up:9000/base/a?b#c", "https://front.test/lro/api/a?b#c", "="),
            ("http://UP:9000/base", "https://front.test/lro/api", "="),
            ("//up:9000/base/a", "https://front.test/lro/api/a", "="),
            ("/base/a", "/lro/api/a", "https://front.test/lro/api/a"),
            ("/base?a", "/lro/api?a", "https://front.test/lro/api?a"),
            ("/basement", "/basement", "https://front.test/basement"),
            ("/other/a", "/other/a", "https://front.test/other/a"),
            ("https://up:9000/base/a", "https://up:9000/base/a", "="),
            ("http://up/base/a", "http://up/base/a", "="),
            ("http://else.test/base/a", "http://else.test/base/a", "="),
            ("http://front.test/base/a", "http://front.test/base/a", "="),
            ("//else.test/a", "//else.test/a", "https://else.test/a"),
            ("mailto:a@b", "mailto:a@b", "="),
            ("8", "8", "https://front.test/lro/api/things/8"),
            ("./8?y", "./8?y", "https://front.test/lro/api/things/8?y"),
            ("../x/", "../x/", "https://front.test/lro/api/x/"),
            ("..", "..", "https://front.test/lro/api/"),
            ("../../../../../a", "../../../../../a", "https://front.test/a"),
            ("?y=2", "?y=2", "https://front.test/lro/api/things/7?y=2"),
            ("#f", "#f", "https://front.test/lro/api/things/7?x=1#f"),
            ("a:b/../c", "a:b/../c", "="),
        ] {
            let resolved = if resolved == "=" { passed } else { resolved };
            let [got_passed, got_resolved] = both(&mount(""), front, LOCATION, reference);
            assert_eq!(
                (got_passed.as_str(), got_resolved.as_str()),
                (passed, resolved),
                "{reference}"
            );
        }
        let [passed, resolved] = both(&mount(""), "", CONTENT_LOCATION, "8");
        assert_eq!((passed.as_str(), resolved.as_str()), ("8", "/api/things/8"));
    }

    #[test]
    fn a_mount_may_leave_them_and_may_give_the_upstream_another_name() {
        let left = mount("rewrite_locations = false\n");
        let of = |mount: &Mount, reference| both(mount, "http://front.test", LOCATION, reference);
        assert_eq!(of(&left, "http://up:9000/base/a"), ["http://up:9000/base/a"; 2]);
        assert_eq!(of(&left, "/base/a"), ["/base/a", "http://front.test/base/a"]);
        let preserved = mount("preserve_host = true\n");
        assert_eq!(of(&preserved, "https://Front.test/base/a"), ["http://front.test/api/a"; 2]);
    }

    #[test]
    fn links_are_changed_within_their_brackets() {
        let link = "</base/a>; rel=next; title=\"<x>, \\\" </base/y>\", <8>;rel=\"prev\", <broken";
        let [passed, resolved] = both(&mount(""), "http://f", LINK, link);
        let rest = "; rel=next; title=\"<x>, \\\" </base/y>\", <";
        assert_eq!(passed, format!("</api/a>{rest}8>;rel=\"prev\", <broken"));
        assert_eq!(
            resolved,
            format!("<http://f/api/a>{rest}http://f/api/things/8>;rel=\"prev\", <broken")
        );
    }
}
