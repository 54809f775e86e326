//! The names of operations as people type and paste them: a full name, an id in any case, the beginning of an id,
//! or a URL.

use anyhow::anyhow;
use prost_types::Timestamp;

use super::remote::Remote;
use crate::proto::v1::{ListOperationsRequest, OperationView};

/// The least hexadecimal digits of an abbreviated id: fewer would match the operations of several days.
const LEAST_DIGITS: usize = 8;
/// The digits at the beginning of an id that are its time, in milliseconds since the Unix epoch.
const TIME_DIGITS: usize = 12;
/// How far the time of an id may be from its operation's creation, in milliseconds.
const MARGIN: u64 = 60_000;
/// The largest page that servers return.
const LARGEST_PAGE: i32 = 1_000;

/// What a text names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// An operation, by its name; or an invalid text, which the server will refuse.
    Whole(String),
    /// The operation whose id begins with these digits, hyphens left out.
    Beginning(String),
}

impl Remote {
    /// The name of the operation that `text` names.
    pub(super) async fn name(&self, text: &str) -> anyhow::Result<String> {
        match read(text) {
            Named::Whole(name) => Ok(name),
            Named::Beginning(digits) => self.by_beginning(text, &digits).await,
        }
    }

    /// The same for several.
    pub(super) async fn names(&self, texts: &[String]) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::with_capacity(texts.len());
        for text in texts {
            names.push(self.name(text).await?);
        }
        Ok(names)
    }

    /// An id begins with its creation time, so its beginning tells which period to list.
    async fn by_beginning(&self, text: &str, digits: &str) -> anyhow::Result<String> {
        let (from, to) = period(digits);
        let filter = format!("create_time>=\"{from}\" AND create_time<=\"{to}\"");
        let mut request = ListOperationsRequest {
            filter,
            page_size: LARGEST_PAGE,
            view: OperationView::Basic.into(),
            ..Default::default()
        };
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = self.client.list(request.clone()).await;
            let page = page.map_err(|error| self.failed(&error, &format!("find {text}")))?;
            let names = page.operations.into_iter().map(|operation| operation.name);
            found.extend(names.filter(|name| digits_of(name).starts_with(digits)));
            request.page_token = page.next_page_token;
            if found.len() > 1 || request.page_token.is_empty() {
                break;
            }
        }
        match &found[..] {
            [] => Err(anyhow!(
                "no operation has an id that begins with {text}; `longrun list` shows ids"
            )),
            [name] => Ok(name.clone()),
            [one, other, ..] => Err(anyhow!(
                "several ids begin with {text}, such as {one} and {other}: give more digits"
            )),
        }
    }
}

fn digits_of(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().replace('-', "")
}

fn read(text: &str) -> Named {
    let text = text.trim();
    let (tenant, id) = parts(text);
    let id = id.to_ascii_lowercase();
    let digits = id.replace('-', "");
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match digits.len() {
        32 if is_hex => {
            let id = uuid::Uuid::try_parse(&digits).map_or(id, |id| id.to_string());
            Named::Whole(match tenant {
                Some(tenant) => format!("tenants/{tenant}/operations/{id}"),
                None => format!("operations/{id}"),
            })
        }
        LEAST_DIGITS..32 if is_hex => Named::Beginning(digits),
        _ => Named::Whole(text.to_owned()),
    }
}

/// The tenant, if any, and the id of a name or of a URL such as `http://HOST/v1/operations/ID/result?alt=media`.
fn parts(text: &str) -> (Option<&str>, &str) {
    let Some((before, behind)) = text.split_once("operations/") else { return (None, text) };
    let id = behind.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let tenant = before.trim_end_matches('/').rsplit_once("tenants/").map(|(_, tenant)| tenant);
    (tenant, id)
}

/// The period in which an operation whose id begins with these digits may have been created.
fn period(digits: &str) -> (Timestamp, Timestamp) {
    let time = &digits[..digits.len().min(TIME_DIGITS)];
    let millis = |fill: &str| {
        let padded = format!("{time}{}", fill.repeat(TIME_DIGITS - time.len()));
        u64::from_str_radix(&padded, 16).unwrap_or_default()
    };
    (moment(millis("0").saturating_sub(MARGIN)), moment(millis("f").saturating_add(MARGIN)))
}

fn moment(millis: u64) -> Timestamp {
    // The last second that can be written.
    let seconds = (millis / 1_000).min(253_402_300_799);
    let nanos = i32::try_from(millis % 1_000).unwrap_or_default() * 1_000_000;
    Timestamp { seconds: i64::try_from(seconds).unwrap_or_default(), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_all_their_forms() {
        let id = "01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e";
        let name = format!("operations/{id}");
        for text in [
            id.to_owned(),
            id.to_uppercase(),
            id.replace('-', ""),
            format!("operations/{id}"),
            format!("http://127.0.0.1:7420/v1/operations/{id}"),
            format!("https://a.example/base/v1/operations/{id}/result?alt=media#x"),
            format!(" /v1/operations/{id}:cancel\n"),
        ] {
            assert_eq!(read(&text), Named::Whole(name.clone()), "{text}");
        }
        for text in [format!("tenants/a/{name}"), format!("http://h/v1/tenants/a/{name}/events")] {
            assert_eq!(read(&text), Named::Whole(format!("tenants/a/{name}")), "{text}");
        }
        assert_eq!(read("01980A3E-7f"), Named::Beginning("01980a3e7f".to_owned()));
        for other in ["x", "01980a3", "nonsense", "operations/x", "", "deadbeef0x"] {
            assert_eq!(read(other), Named::Whole(other.to_owned()));
        }
    }

    #[test]
    fn the_beginning_of_an_id_says_when() {
        let (from, to) = period("01980a3e");
        assert_eq!(to.seconds - from.seconds, 65 + 120);
        let (from, to) = period("01980a3e7f2b7c1");
        assert_eq!(to.seconds - from.seconds, 120);
        let (_, last) = period("ffffffff");
        assert!(crate::time_text::parse_time(&last.to_string()).is_ok());
    }
}
