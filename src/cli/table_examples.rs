//! The refusal of a configuration file: the text at the place of the error, and a valid example.
//!
//! Settings are flags, whose examples are in `refusal`. The examples of tables are here.

use super::refusal::has_example;
use super::struck_out::without_password;
use crate::config::file::FileError;
use crate::operation::http::is_credential;

/// An example of each table.
const TABLES: [(&str, &str); 5] = [
    (
        "dialect",
        "[[dialect]]\nuse = \"job-object\"\nprefix = \"/jobs\"\n[[dialect.submit]]\npath = \"/\"\nkind = \"job\"\n",
    ),
    ("dialect.submit", "[[dialect.submit]]\npath = \"/\"\nkind = \"job\"\n"),
    ("handler", "[[handler]]\nkind = \"shout\"\ncommand = \"tr a-z A-Z\"\n"),
    ("limit", "[[limit]]\ntenant = \"acme\"\noutstanding = 100000\n"),
    (
        "relay",
        "[[relay]]\nname = \"exports\"\nprefix = \"/exports\"\nupstream = \"http://127.0.0.1:9000/api\"\n",
    ),
];

/// Values of the keys of tables: `TABLE.KEY`.
const VALUES: [(&str, &str); 63] = [
    ("dialect.capacity", "1000"),
    ("dialect.credentials", "\"x-api-key\""),
    ("dialect.file", "\"jobs.toml\""),
    ("dialect.name", "\"jobs\""),
    ("dialect.prefix", "\"/jobs\""),
    ("dialect.queue_timeout", "\"10m\""),
    ("dialect.relay", "\"exports\""),
    ("dialect.share", "\"anyone\""),
    ("dialect.submit.kind", "\"job\""),
    ("dialect.submit.kinds", "[\"small\", \"large\"]"),
    ("dialect.submit.method", "\"POST\""),
    ("dialect.submit.path", "\"/\""),
    ("dialect.tenant", "\"acme\""),
    ("dialect.use", "\"job-object\""),
    ("dialect.wait", "\"5s\""),
    ("handler.attempt_timeout", "\"10m\""),
    ("handler.ca_file", "\"ca.pem\""),
    ("handler.command", "\"tr a-z A-Z\""),
    ("handler.concurrency", "4"),
    ("handler.connect_timeout", "\"5s\""),
    ("handler.env", "[\"GREETING\"]"),
    ("handler.headers", "{ authorization = { file = \"token\" } }"),
    ("handler.kind", "\"shout\""),
    ("handler.limit", "[\"memory=512MiB\"]"),
    ("handler.own_directory", "true"),
    ("handler.retry_on", "\"1,64-78\""),
    ("handler.url", "\"https://jobs.example.com/render\""),
    ("handler.user", "\"nobody\""),
    ("limit.connections", "100"),
    ("limit.kind", "\"report.build\""),
    ("limit.outstanding", "100000"),
    ("limit.payload_bytes", "1048576"),
    ("limit.result_bytes", "1048576"),
    ("limit.retention_seconds", "86400"),
    ("limit.running", "10"),
    ("limit.running_per_label", "{ customer = 1 }"),
    ("limit.sessions", "100"),
    ("limit.stored_bytes", "10737418240"),
    ("limit.submissions_per_second", "200"),
    ("limit.tenant", "\"acme\""),
    ("limit.watches", "1000"),
    ("limit.weight", "3"),
    ("relay.answer", "202"),
    ("relay.ca_file", "\"ca.pem\""),
    ("relay.concurrency", "16"),
    ("relay.headers.allow", "[\"accept\", \"content-type\"]"),
    ("relay.headers.credentials", "[\"x-api-key\"]"),
    ("relay.headers.deny", "[\"x-internal\"]"),
    ("relay.limits.max_header_bytes", "\"400KiB\""),
    ("relay.limits.max_header_fields", "1000"),
    ("relay.max_body", "\"1MiB\""),
    ("relay.name", "\"exports\""),
    ("relay.prefix", "\"/exports\""),
    ("relay.preserve_host", "true"),
    ("relay.retries.max_attempts", "3"),
    ("relay.rewrite_locations", "false"),
    ("relay.tenant", "\"acme\""),
    ("relay.trigger.origins", "[\"https://app.example.com\"]"),
    ("relay.trigger.prefer", "true"),
    ("relay.trigger.query", "\"async\""),
    ("relay.trigger.values", "[\"true\", \"1\"]"),
    ("relay.upstream", "\"http://127.0.0.1:9000/api\""),
    // For all keys of this table without an example of their own.
    ("relay.limits", "\"10s\""),
];

/// The most lines of a table that a refusal repeats.
const MOST_LINES: usize = 12;

/// The text at the place of the error, without values that can have a password, and a valid example, unless the error has
/// one itself. `setting` returns the example of a key before all tables.
pub(super) fn advice(
    text: &str,
    error: &FileError,
    setting: impl FnOnce(&str) -> Option<String>,
) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = error.line.checked_sub(1)?;
    let above = lines.get(..=at)?.iter().rev().find(|line| line.starts_with('['));
    let table = above.and_then(|line| line.split('#').next());
    let table = table.map(|line| line.trim().trim_matches(['[', ']']));
    let (given, example) = match (table, key(lines[at])) {
        (Some(table), Some(key)) => {
            (shown(lines[at]), value(table, key).map(|value| format!("{key} = {value}")))
        }
        (None, Some(key)) => {
            (shown(lines[at]), setting(key).map(|value| format!("{key} = {value}")))
        }
        (Some(_), None) => {
            let rest = lines[at + 1..].iter().take(MOST_LINES);
            let rest = rest.take_while(|line| !line.is_empty() && !line.starts_with('['));
            let given = [&lines[at]].into_iter().chain(rest).filter_map(|line| shown(line));
            (Some(block(given)), None)
        }
        (None, None) => return None,
    };
    let example = example.or_else(|| Some(block(whole(table?)?.lines().map(str::to_owned))));
    let example = example.filter(|_| !has_example(&error.reason));
    let given = given.map(|given| format!("\n  given: {given}"));
    let example = example.map(|example| format!("\n  for example: {example}"));
    // A block begins on a new line.
    Some([given, example].into_iter().flatten().collect::<String>().replace(": \n", ":\n"))
}

/// The key of a line that has one.
fn key(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim())
}

/// The line without its secrets.
fn shown(line: &str) -> Option<String> {
    let is_secret = |key: &str| key == "headers" || is_credential(&key.replace('_', "-"));
    (!key(line).is_some_and(is_secret)).then(|| without_password(line))
}

fn block(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| format!("\n    {line}")).collect()
}

/// An example of the whole table, or of its outer table.
fn whole(table: &str) -> Option<&'static str> {
    let of = |name: &str| TABLES.iter().find(|(known, _)| *known == name).map(|(_, whole)| *whole);
    of(table).or_else(|| of(table.split('.').next()?))
}

fn value(table: &str, key: &str) -> Option<&'static str> {
    let of = |name: &str| VALUES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    of(&format!("{table}.{key}")).or_else(|| of(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    const DIALECT: &str = include_str!("../dialect/builtin/job-object.toml");

    fn parse(text: &str) -> Result<file::Config, FileError> {
        file::parse(text, &|_| Ok(DIALECT.to_owned()))
    }

    /// The keys that a table may have, as the refusal of another says.
    fn keys(table: &str) -> Vec<String> {
        let (first, inner) = table.split_once('.').unwrap_or((table, ""));
        let header = match inner {
            "" => String::new(),
            "submit" => "[[dialect.submit]]\n".to_owned(),
            inner => format!("[{first}.{inner}]\n"),
        };
        let text = format!("{}{header}zzzzzzzzzz = 1\n", whole(first).unwrap());
        // Within the dialect's own table, and not the last of those in it.
        let text = match table {
            "dialect" => text.replace("[[dialect]]\n", "[[dialect]]\nzzzzzzzzzz = 1\n"),
            _ => text,
        };
        let said = parse(&text).unwrap_err().reason;
        let (_, listed) =
            said.split_once("there are ").unwrap_or_else(|| panic!("{table}: {said}"));
        listed.split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn every_key_of_every_table_has_an_example_that_it_takes() {
        for (table, whole) in TABLES.iter().filter(|(name, _)| !name.contains('.')) {
            parse(whole).unwrap_or_else(|error| panic!("{table}: {error}"));
        }
        let tables = [
            "dialect",
            "dialect.submit",
            "handler",
            "limit",
            "relay",
            "relay.headers",
            "relay.limits",
            "relay.retries",
            "relay.trigger",
        ];
        let mut checked = 0;
        for table in tables {
            let first = table.split('.').next().unwrap();
            for key in keys(table) {
                // Tables in their own right.
                if tables.contains(&&*format!("{table}.{key}")) {
                    continue;
                }
                let example = value(table, &key).unwrap_or_else(|| panic!("{table}.{key}"));
                let line = format!("{key} = {example}\n");
                let text = match (table, key.as_str()) {
                    (
                        "handler",
                        "url" | "ca_file" | "headers" | "connect_timeout" | "attempt_timeout",
                    ) => {
                        let url = "url = \"https://jobs.example.com/render\"\n";
                        let line = if key == "url" { "" } else { &line };
                        format!("[[handler]]\nkind = \"k\"\n{url}{line}")
                    }
                    ("limit", "kind") => format!("[[limit]]\nrunning = 1\n{line}"),
                    ("dialect", "file") => {
                        whole("dialect").unwrap().replace("use = \"job-object\"\n", &line)
                    }
                    // For a dialect of another sort each.
                    ("dialect", "relay" | "share") | ("dialect.submit", "kinds") => continue,
                    ("relay", "ca_file") => {
                        whole("relay").unwrap().replace("http:", "https:") + &line
                    }
                    _ => {
                        let header = format!("[{table}]\n");
                        let header = if table == first { "" } else { &header };
                        let whole = match table {
                            "dialect.submit" => whole("dialect"),
                            _ => whole(first),
                        };
                        let whole = whole.unwrap();
                        let mut lines: Vec<&str> = whole.lines().collect();
                        let is_given = |at: &&str| at.starts_with(&format!("{key} = "));
                        match (lines.iter().position(is_given), table) {
                            (Some(at), _) => lines[at] = line.trim_end(),
                            (None, "dialect") => lines.insert(1, line.trim_end()),
                            (None, "dialect.submit") => lines.push(line.trim_end()),
                            (None, _) => lines.extend([header.trim_end(), line.trim_end()]),
                        }
                        lines.join("\n")
                    }
                };
                parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                checked += 1;
            }
        }
        assert!(checked > 50, "{checked}");
    }

    #[test]
    fn a_refusal_has_what_was_given_unless_it_can_be_secret() {
        let advice = |text: &str| {
            let error = parse(text).unwrap_err();
            advice(text, &error, |_| Some("7".to_owned())).unwrap()
        };
        let said = advice("[[limit]] # all\nweight = 0\n\n[[limit]]\nwatches = 1\n");
        let example = "\n    [[limit]]\n    tenant = \"acme\"\n    outstanding = 100000";
        assert_eq!(
            said,
            format!("\n  given:\n    [[limit]] # all\n    weight = 0\n  for example:{example}")
        );
        let said = advice("[[relay]]\nname = \"a b\"\nprefix = \"/a\"\nupstream = \"http://h\"\n");
        assert_eq!(said, "\n  given: name = \"a b\"\n  for example: name = \"exports\"");
        let said = advice("[[relay]]\nname = \"a\"\nprefix = \"a\"\nupstream = \"http://h\"\n");
        assert_eq!(said, "\n  given: prefix = \"a\"", "the rule has an example");
        let said = advice("[[relay]]\nname = \"a\"\nupstream = \"http://u:p@h\"\n");
        assert!(said.contains("u:***@h"), "{said}");
        assert_eq!(
            advice("concurrency = x\n"),
            "\n  given: concurrency = x\n  for example: concurrency = 7"
        );
    }
}
