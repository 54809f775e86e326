//! The cookie that holds a key, and how the key gets to the header field for credentials.
//!
//! The cookie has the pages' own path, so that neither the API nor an API behind a mount ever gets it; no script can
//! read it, and browsers do not send it for pages of other sites.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

pub(super) const NAME: &str = "longrun_key";
/// The header field for credentials of this server.
pub(super) const OWN_FIELD: HeaderName = HeaderName::from_static("longrun-authorization");
/// The longest key or token that fits, in bytes: browsers keep 4,096 with the name and the attributes.
pub(super) const MAX_BYTES: usize = 3_800;

/// Marks requests whose credentials come from a cookie.
#[derive(Clone, Copy, Debug)]
struct ByCookie;

/// Copies the cookie's key to the header field for credentials, unless the request has credentials there.
pub(super) fn bring_credentials(parts: &mut Parts) {
    let is_bearer = |field: &HeaderValue| {
        field.as_bytes().get(..7).is_some_and(|it| it.eq_ignore_ascii_case(b"bearer "))
    };
    let has_some = parts.headers.contains_key(OWN_FIELD)
        || parts.headers.get_all(AUTHORIZATION).iter().any(is_bearer);
    if !has_some && let Some(key) = in_cookie(parts) {
        let value = HeaderValue::try_from(format!("Bearer {key}")).ok();
        if let Some(mut value) = value {
            value.set_sensitive(true);
            parts.headers.insert(OWN_FIELD, value);
            parts.extensions.insert(ByCookie);
        }
    }
    parts.headers.remove(COOKIE);
}

fn in_cookie(parts: &Parts) -> Option<String> {
    let fields = parts.headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut cookies = fields.flat_map(|field| field.split(';')).map(str::trim);
    let key = cookies.find_map(|cookie| cookie.strip_prefix(NAME)?.strip_prefix('='))?;
    fits(key).then(|| key.to_owned())
}

/// Whether a cookie and a header field can hold the key unchanged.
pub(super) fn fits(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    (1..=MAX_BYTES).contains(&key.len()) && key.bytes().all(plain)
}

/// Whether the caller has signed in here, and so can sign out.
pub(super) fn is_signed_in(parts: &Parts) -> bool {
    parts.extensions.get::<ByCookie>().is_some()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cookie_brings_credentials_where_there_are_none() {
        let brought = |fields: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/ui/operations");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            bring_credentials(&mut parts);
            assert!(!parts.headers.contains_key(COOKIE));
            let own = parts.headers.get(OWN_FIELD).map(|it| it.to_str().unwrap().to_owned());
            (own, is_signed_in(&parts))
        };
        let cookie = ("cookie", "a=b; longrun_key=lr_x.y; c=d");
        assert_eq!(brought(&[cookie]), (Some("Bearer lr_x.y".to_owned()), true));
        assert_eq!(brought(&[cookie, ("authorization", "bearer z")]), (None, false));
        assert!(brought(&[cookie, ("authorization", "Basic z")]).1);
        assert_eq!(brought(&[("cookie", "longrun_key=")]), (None, false));
        assert_eq!(brought(&[("cookie", "xlongrun_key=a")]), (None, false));
        let own = brought(&[cookie, ("longrun-authorization", "Bearer o")]);
        assert_eq!(own, (Some("Bearer o".to_owned()), false));
    }

    proptest! {
        #[test]
        fn any_cookie_brings_a_credential_that_fits_or_none(
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "[a-z_=; ]{0,9}longrun_key=.{0,30}[;,a-z=]{0,9}".prop_map(String::into_bytes),
            ],
        ) {
            let Ok(value) = HeaderValue::try_from(value) else { return Ok(()) };
            let (mut parts, ()) = Request::new(()).into_parts();
            parts.headers.insert(COOKIE, value);
            bring_credentials(&mut parts);
            let brought = parts.headers.get(OWN_FIELD).map(|own| own.to_str().unwrap());
            let key = brought.map(|own| own.strip_prefix("Bearer ").unwrap());
            prop_assert!(key.is_none_or(fits));
            prop_assert_eq!(key.is_some(), is_signed_in(&parts));
            prop_assert!(!parts.headers.contains_key(COOKIE));
        }
    }
}
