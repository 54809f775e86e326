//! The command lines for a page's contents: `longrun`, `curl` and `grpcurl`.

use serde::Serialize;
use serde_json::{Value, json};

use super::fields::encode;
use super::visit::Visit;

/// A command line, with the name of its program.
#[derive(Debug, Serialize)]
pub(super) struct Command {
    name: &'static str,
    text: String,
}

/// The way to the server.
struct Way {
    base: String,
    is_open: bool,
}

impl Way {
    fn of(visit: &Visit) -> Self {
        Self { base: visit.base(), is_open: visit.shared().is_open(&visit.parts) }
    }

    fn longrun(&self, words: &str) -> Command {
        let server = match self.base.as_str() {
            "http://127.0.0.1:7420" => String::new(),
            base => format!(" --server {}", quoted(base)),
        };
        // It takes the token from the same variable as the other programs.
        Command { name: "longrun", text: format!("longrun{server} {words}") }
    }

    fn curl(&self, path: &str) -> Command {
        let token = if self.is_open { "" } else { " -H \"Authorization: Bearer $LONGRUN_TOKEN\"" };
        Command {
            name: "curl",
            text: format!("curl{token} {}", quoted(&format!("{}{path}", self.base))),
        }
    }

    fn grpcurl(&self, rpc: &str, request: &Value) -> Command {
        let (plain, rest) = match self.base.split_once("://") {
            Some(("https", rest)) => ("", rest),
            Some((_, rest)) => (" -plaintext", rest),
            None => (" -plaintext", self.base.as_str()),
        };
        let host = rest.split('/').next().unwrap_or_default();
        // It has no default port.
        let port = if plain.is_empty() { ":443" } else { ":80" };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if has_port { "" } else { port };
        let token = if self.is_open { "" } else { " -H \"authorization: Bearer $LONGRUN_TOKEN\"" };
        let data = quoted(&request.to_string());
        let text = format!("grpcurl{plain}{token} -d {data} {host}{port} longrun.v1.{rpc}");
        Command { name: "grpcurl", text }
    }
}

/// Commands for one operation.
pub(super) fn of_operation(visit: &Visit, id: &str, is_done: bool) -> Vec<Command> {
    let way = Way::of(visit);
    let name = json!({"name": format!("operations/{id}")});
    let (words, path) = match is_done {
        true => (format!("result {id}"), format!("/v1/operations/{id}/result")),
        false => (format!("watch {id}"), format!("/v1/operations/{id}")),
    };
    vec![way.longrun(&words), way.curl(&path), way.grpcurl("Operations/GetOperation", &name)]
}

/// Commands for the shares of an operation.
pub(super) fn of_shares(visit: &Visit, id: &str) -> Vec<Command> {
    let way = Way::of(visit);
    let name = json!({"name": format!("operations/{id}")});
    let path = format!("/v1/operations/{id}/shares");
    vec![
        way.longrun(&format!("share {id} --list")),
        way.curl(&path),
        way.grpcurl("Admin/ListShares", &name),
    ]
}

/// Commands for a list.
pub(super) fn of_list(visit: &Visit, filter: &str) -> Vec<Command> {
    let way = Way::of(visit);
    let (words, query, request) = match filter {
        "" => ("list".to_owned(), String::new(), json!({})),
        filter => (
            format!("list --filter {}", quoted(filter)),
            format!("?filter={}", encode(filter)),
            json!({"filter": filter}),
        ),
    };
    vec![
        way.longrun(&words),
        way.curl(&format!("/v1/operations{query}")),
        way.grpcurl("Operations/ListOperations", &request),
    ]
}

/// Commands for kinds or workers.
pub(super) fn of_standing(visit: &Visit, what: &str, rpc: &str) -> Vec<Command> {
    let way = Way::of(visit);
    vec![
        way.longrun(what),
        way.curl(&format!("/v1/{what}")),
        way.grpcurl(&format!("Operations/{rpc}"), &json!({})),
    ]
}

/// Commands for the webhooks of the caller's tenant.
pub(super) fn of_webhooks(visit: &Visit) -> Vec<Command> {
    let way = Way::of(visit);
    vec![
        way.longrun("webhook list"),
        way.curl("/v1/webhooks"),
        way.grpcurl("Admin/ListWebhooks", &json!({})),
    ]
}

/// Commands for deliveries; empty parameters are left out.
pub(super) fn of_deliveries(
    visit: &Visit,
    webhook: &str,
    operation: &str,
    state: &str,
) -> Vec<Command> {
    let way = Way::of(visit);
    let name = if operation.is_empty() { "" } else { &*format!("operations/{operation}") };
    let (mut words, mut query, mut request) = ("webhook deliveries".to_owned(), vec![], json!({}));
    for (flag, field, key, value) in [
        ("webhook", "webhook_id", "webhookId", webhook),
        ("operation", "operation", "operation", name),
        ("state", "state", "state", state),
    ] {
        if !value.is_empty() {
            words += &format!(" --{flag} {}", quoted(value));
            query.push(format!("{field}={}", encode(value)));
            request[key] = value.into();
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    vec![
        way.longrun(&words),
        way.curl(&format!("/v1/deliveries{query}")),
        way.grpcurl("Admin/ListDeliveries", &request),
    ]
}

/// Quotes a word for a shell.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_of_a_shell() {
        let way = Way { base: "https://lro.example/api".to_owned(), is_open: false };
        assert_eq!(way.longrun("list").text, "longrun --server https://lro.example/api list");
        let curl =
            "curl -H \"Authorization: Bearer $LONGRUN_TOKEN\" 'https://lro.example/api/v1/a?b'";
        assert_eq!(way.curl("/v1/a?b").text, curl);
        let grpcurl = way.grpcurl("Operations/ListOperations", &json!({"filter": "a='b'"})).text;
        assert!(grpcurl.contains(r#"-d '{"filter":"a='\''b'\''"}' lro.example:443 "#), "{grpcurl}");
        let way = Way { base: "http://127.0.0.1:7420".to_owned(), is_open: true };
        assert_eq!(way.longrun("list").text, "longrun list");
        assert!(way.grpcurl("A/X", &json!({})).text.ends_with("127.0.0.1:7420 longrun.v1.A/X"));
    }
}
