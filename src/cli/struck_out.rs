//! Removes secrets from texts for people.

use crate::operation::http::is_credential;

/// The replacement for a secret.
pub(super) const STRUCK_OUT: &str = "***";

/// The text, whose URLs have no passwords, and no query values that look like secrets.
pub(super) fn without_password(text: &str) -> String {
    text.split(' ').map(discreet).collect::<Vec<_>>().join(" ")
}

fn discreet(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let (address, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
    let place = match address.split_once('@').map(|(user, place)| (user.split_once(':'), place)) {
        Some((Some((user, _)), place)) => format!("{user}:{STRUCK_OUT}@{place}"),
        _ => address.to_owned(),
    };
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={STRUCK_OUT}"),
            _ => pair.to_owned(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{place}{}", query.unwrap_or_default())
}

fn is_secret(parameter: &str) -> bool {
    let name = parameter.to_lowercase().replace('_', "-");
    is_credential(&name) || matches!(name.as_str(), "key" | "code" | "sig" | "password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_is_secret() {
        for (given, shown) in [
            ("https://me:pass@host/p", "https://me:***@host/p"),
            ("https://host/p?code=abc&page=2", "https://host/p?code=***&page=2"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("curl -s https://a:b@c | wc", "curl -s https://a:***@c | wc"),
            ("127.0.0.1:7420", "127.0.0.1:7420"),
        ] {
            assert_eq!(without_password(given), shown);
        }
    }
}
