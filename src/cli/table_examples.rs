//! What a refused configuration file has at the place of the error, and what would do there.
//!
//! Settings are flags, whose examples are in `refusal`. Tables have theirs here.

use crate::config::file::FileError;

/// A whole table of each sort.
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
    // Of all keys of this table that have none of their own.
    ("relay.limits", "\"10s\""),
];

/// Keys whose values can have a password.
const SECRET: [&str; 3] = ["headers", "upstream", "url"];

/// What stands at the place of the error, unless it can have a password, and what would do; nothing where the error says
/// so itself, or is about no table.
pub(super) fn advice(text: &str, error: &FileError) -> Option<String> {
    let line = text.lines().nth(error.line.checked_sub(1)?)?.trim();
    let above = text.lines().take(error.line).map(str::trim).filter(|line| line.starts_with('['));
    let table = above.last()?.split('#').next()?.trim().trim_matches(['[', ']']);
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let example = match key.and_then(|key| Some((key, value(table, key)?))) {
        Some((key, value)) => format!("{key} = {value}"),
        None => {
            let sort = TABLES.iter().find(|(name, _)| *name == table);
            let sort = sort.or_else(|| {
                let first = table.split('.').next()?;
                TABLES.iter().find(|(name, _)| *name == first)
            });
            let (_, whole) = sort?;
            format!("\n    {}", whole.trim_end().replace('\n', "\n    "))
        }
    };
    let is_secret = key.is_some_and(|key| SECRET.contains(&key));
    let given = if is_secret { String::new() } else { format!("given: {line}; ") };
    Some(format!("\n  {given}for example: {example}"))
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

    fn whole(table: &str) -> &'static str {
        TABLES.iter().find(|(name, _)| *name == table).map(|(_, whole)| *whole).unwrap()
    }

    /// The keys that a table may have, as the refusal of another says.
    fn keys(table: &str) -> Vec<String> {
        let (first, inner) = table.split_once('.').unwrap_or((table, ""));
        let header = match inner {
            "" => String::new(),
            "submit" => "[[dialect.submit]]\n".to_owned(),
            inner => format!("[{first}.{inner}]\n"),
        };
        let text = format!("{}{header}zzzzzzzzzz = 1\n", whole(first));
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
                        whole("dialect").replace("use = \"job-object\"\n", &line)
                    }
                    // For a dialect of another sort each.
                    ("dialect", "relay" | "share") | ("dialect.submit", "kinds") => continue,
                    ("relay", "ca_file") => whole("relay").replace("http:", "https:") + &line,
                    _ => {
                        let header = format!("[{table}]\n");
                        let header = if table == first { "" } else { &header };
                        let whole = match table {
                            "dialect.submit" => whole("dialect"),
                            _ => whole(first),
                        };
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
            advice(text, &error).unwrap()
        };
        let said = advice("[[limit]] # all\nweight = 0\n");
        assert_eq!(
            said,
            "\n  given: [[limit]] # all; for example: \n    [[limit]]\n    tenant = \"acme\"\n    outstanding = 100000"
        );
        let said = advice("[[relay]]\nname = \"a\"\nprefix = \"a\"\nupstream = \"http://h\"\n");
        assert_eq!(said, "\n  given: prefix = \"a\"; for example: prefix = \"/exports\"");
        let said =
            advice("[[relay]]\nname = \"a\"\nprefix = \"/a\"\nupstream = \"http://u:p@h\"\n");
        assert_eq!(said, "\n  for example: upstream = \"http://127.0.0.1:9000/api\"");
    }
}
