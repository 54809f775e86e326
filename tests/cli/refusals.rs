//! Each refusal of a command line or of a configuration file says which flag it is about, what was given, what would do,
//! and one example.

use super::support::{Server, longrun, run, stderr};

/// Whether a text has an example of what would do.
fn has_example(text: &str) -> bool {
    ["e.g. ", "such as ", "for example:", "did you mean "].iter().any(|it| text.contains(it))
}

/// Command lines that are refused without a server, with what they are about, and what was given.
#[test]
fn a_wrong_command_line_is_told_in_four_parts() {
    let here = tempfile::tempdir().unwrap();
    let empty = here.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (words, about, given) in [
        (&["serve", "--listen", "x"][..], "--listen", "'x'"),
        (&["serve", "--store", "mysql://u:s3cret@h"], "--store", "--store"),
        (&["serve", "--max-connections", "x"], "--max-connections", "'x'"),
        (&["serve", "--max-connections", "0"], "--max-connections", "'0'"),
        (&["serve", "--handler-concurrency", "0"], "--handler-concurrency", "'0'"),
        (&["serve", "--lease-duration", "1ms"], "--lease-duration", "1ms"),
        (&["serve", "--inline-payload-bytes", "2MiB"], "--inline-payload-bytes", "2MiB"),
        (&["serve", "--retention", "1 fortnight"], "--retention", "1 fortnight"),
        (&["serve", "--auth", "maybe"], "--auth", "'maybe'"),
        (&["serve", "--tls-cert", "c.pem"], "--tls-cert", "--tls-cert"),
        (&["serve", "--jwt-keys", "k.json"], "--jwt-keys", "--jwt-issuer"),
        (&["serve", "--jwt-keys", "https://u:s3cret@h/k"], "--jwt-keys", "u:***@h"),
        (&["serve", "--jwt-ca-file", "ca.pem"], "--jwt-ca-file", "--jwt-keys"),
        (&["serve", "--objects", ""], "--objects", "''"),
        (&["store", "copy", "sqlite:a", "sqlite:b", "--to-objects", " "], "--to-objects", "' '"),
        (&["serve", "--handler-url", "a=https://u:s3cret@h"], "--handler-url", "u:***@h"),
        (&["serve", "--listen", "0.0.0.0:7420"], "--listen", "0.0.0.0:7420"),
        (&["serve", "--handler", "shout"], "--handler", "'shout'"),
        (&["serve", "--handler", "a=1", "--handler", "a=2"], "--handler", "a has two handlers"),
        (&["serve", "--handler-url", "a=ftp://h"], "--handler-url", "ftp://h"),
        (&["serve", "--handler-limit", "disk=1"], "--handler-limit", "disk"),
        (&["serve", "--handler-user", "no-body"], "--handler-user", "no-body"),
        (&["serve", "--handler-retry-on", "0"], "--handler-retry-on", "'0'"),
        (&["--log", "verbose", "serve"], "--log", "verbose"),
        (&["--log-format", "xml", "serve"], "--log-format", "'xml'"),
        (&["--server", "foo://", "list"], "--server", "foo://"),
        (&["--token-file", "/none", "list"], "--token-file", "/none"),
        (&["list", "--state", "RUN"], "--state", "'RUN'"),
        (&["list", "--limit", "0"], "--limit", "'0'"),
        (&["list", "--label", "="], "--label", "'='"),
        (&["--server", "", "list"], "--server", "''"),
        (&["cancel"], "--filter", "longrun cancel"),
        (&["retry"], "--filter", "longrun retry"),
        (&["submit", "a", "--wait", "30x"], "--wait", "'30x'"),
        (&["submit", "a", "--wait", "-1s"], "--wait", "'-1s'"),
        (&["submit", "a", "--wait", "99999999999999999999h"], "--wait", "99999999999999999999h"),
        (&["worker", "w", "--env", "A=B", "--", "cat"], "--env", "A=B"),
        (&["worker", "w", "--", ""], "w", "no program ''"),
        (&["serve", "--handler-env", "A=B"], "--handler-env", "A=B"),
        (&["list", "-o", "csv"], "--output", "'csv'"),
        (&["list", "--since", "yesterday"], "--since", "'yesterday'"),
        (&["list", "--since", "9999999d"], "--since", "'9999999d'"),
        (&["get"], "NAME", "longrun get"),
        (&["submit"], "KIND", "longrun submit"),
        (&["submit", "k", "--retension=1h"], "--retention", "--retension"),
        (&["submit", "k", "--label", "x"], "--label", "'x'"),
        (&["submit", "k", "--label", "a=b", "--label", "a=c"], "--label a", "b and c"),
        (&["batch", "k", "-", "-l", "a=b", "-l", "a=c"], "--label a", "b and c"),
        (&["submit", "k", "--priority", "high"], "--priority", "'high'"),
        (&["submit", "k", "--max-attempts", "0"], "--max-attempts", "'0'"),
        (&["submit", "k", "--start-in", "-1s"], "'-1s' for '--start-in", "must be a duration"),
        (&["submit", "k", "--retention", "-1s"], "'-1s' for '--retention", "must be a duration"),
        (&["submit", "k", "--priority", "-5"], "'-5' for '--priority", "from 0 to 100"),
        (&["submit", "k", "-l", "-a"], "'-a' for '--label", "KEY=VALUE"),
        (&["submit", "k", "--idempotency-key", "-x"], "--idempotency-key", "--idempotency-key=-x"),
        (&["list", "--limit", "-1"], "'-1' for '--limit", "from 1 to"),
        (&["list", "--limit", "99999999999999999999"], "--limit", "to 18446744073709551615"),
        (&["list", "--json", "-o", "yaml"], "--json", "--output yaml"),
        (&["get", "x", "--json", "-o", "table"], "--json", "--output table"),
        (&["worker", "k", "--concurrency", "-1", "--", "x"], "'-1' for '--concurrency", "10000"),
        (&["serve", "--max-payload-bytes", "99999999999999999999"], "--max-payload", "at most"),
        (&["serve", "--handler-limit", "processes=-1"], "--handler-limit", "from 1 to"),
        (&["submit", "k", "--result", "--json"], "--result", "--json"),
        (
            &["submit", "k", "--start-in", "1s", "--start-at", "2026-03-01T12:00:00Z"],
            "--start-at",
            "--start-in",
        ),
        (&["worker"], "KIND", "longrun worker"),
        (&["worker", "k"], "COMMAND", "longrun worker"),
        (&["worker", "k", "--", "nosuchcommand"], "k", "nosuchcommand"),
        (&["worker", "k", "--", empty], "not an executable file", empty),
        (&["worker", "k", "--", "/"], "not an executable file", "/"),
        (&["worker", "-k", "a", "-k", "a", "--", "cat"], "longrun worker -k", "a has two handlers"),
        (&["worker", "k", "--url", "ftp://h"], "--url", "'ftp://h'"),
        (&["worker", "--config", empty], "--config", "[[handler]]"),
        (&["watch"], "NAME", "--filter"),
        (&["top", "--interval", "soon"], "--interval", "'soon'"),
        (&["bench", "--clients", "0"], "--clients", "'0'"),
        (&["bench", "--workers", "0"], "--workers 0", "--watch"),
        (&["store", "copy", "a", "b"], "FROM", "FROM"),
        (&["store", "copy", "sqlite:a", "sqlite:a"], "FROM", "sqlite:a"),
        (&["completions", "csh"], "SHELL", "'csh'"),
        (&["key", "create"], "--role", "--role"),
        (&["limits", "set", "running", "many"], "MOST", "many"),
        (&["limits", "set", "running", "99999999999999999999"], "MOST", "from 0 to 18446744"),
        (&["limits", "set", "stored-bytes", "99999999999GiB"], "MOST", "must be at most"),
        (&["submit", "k", "--retention", "99999999999999999999d"], "--retention", "at most"),
        (&["nosuch"], "nosuch", "nosuch"),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(about) && said.contains(given), "{words:?}: {said}");
        assert!(has_example(&said), "{words:?}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    // A variable is named where it is what is wrong.
    let output = longrun(&["serve"]).env("LONGRUN_MAX_CONNECTIONS", "many").output().unwrap();
    assert!(stderr(&output).contains("LONGRUN_MAX_CONNECTIONS=10000"), "{}", stderr(&output));
}

/// Programs get the parts of a refusal one by one.
#[test]
fn a_wrong_command_line_is_a_document_of_its_parts() {
    let error = |words: &[&str]| {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let document: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
        document["error"].clone()
    };
    let refused = error(&["list", "--limit", "0", "--json"]);
    let rule = "must be a whole number from 1 to 18446744073709551615";
    assert_eq!(refused["message"], format!("invalid value '0' for '--limit <N>': {rule}"));
    assert_eq!(refused["hint"], "for example: --limit 50");
    assert_eq!((&refused["exitCode"], refused.get("usage")), (&2.into(), None));
    let refused = error(&["submit", "--json"]);
    let message = "the following required arguments were not provided: <KIND>";
    assert_eq!(refused["message"], message);
    assert!(refused["usage"].as_str().unwrap().starts_with("longrun submit "), "{refused}");
    assert_eq!(error(&["--json", "key"])["message"], "a command is missing");
}

/// What the server refuses, by the names of its API, is said of the flags.
#[test]
fn what_a_server_refuses_is_told_of_the_flags() {
    let server = Server::start(&[]);
    let name = server.submit(&["k"]);
    let long = "x".repeat(300);
    for (words, about, given) in [
        (&["get", "nosuch"][..], "NAME", "nosuch"),
        (&["list", "--filter", "foo=1"], "--filter", "foo=1"),
        (&["list", "--order-by", "size"], "--order-by", "size"),
        (&["watch", "--filter", "kind="], "--filter", "kind="),
        (&["submit", "a b"], "KIND", "a b"),
        (&["submit", "k", "--label", "X!=1"], "--label", "X!=1"),
        (&["submit", "k", "--deadline", "0s"], "--deadline", "0s"),
        (&["submit", "k", "--max-backoff", "9999d"], "--max-backoff", "9999d"),
        (&["submit", "k", "--idempotency-key", &long], "--idempotency-key", &long),
        (&["key", "create", "--role", "boss"], "--role", "boss"),
        (&["limits", "set", "patience", "3"], "LIMIT", "patience"),
        (&["share", &name, "--for", "9999d"], "--for", "9999d"),
    ] {
        let output = server.command(words).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        let line = said.lines().find(|line| line.trim_start().starts_with("given: "));
        let line = line.unwrap_or_else(|| panic!("{words:?}: {said}"));
        assert!(line.contains(about) && line.contains(given), "{words:?}: {said}");
        assert!(has_example(line), "{words:?}: {said}");
    }
}

#[test]
fn a_wrong_configuration_file_is_told_in_four_parts() {
    let handler = |keys: &str| format!("[[handler]]\nkind = \"k\"\n{keys}\n");
    let command = |keys: &str| handler(&format!("command = \"x\"\n{keys}"));
    let limit = |keys: &str| format!("[[limit]]\n{keys}\n");
    let relay = |keys: &str| format!("[[relay]]\nname = \"a\"\nupstream = \"http://h\"\n{keys}\n");
    let dialect = |keys: &str| format!("[[dialect]]\nuse = \"job-object\"\n{keys}\n");
    let job = |keys: &str| {
        let submit = "[[dialect.submit]]\npath = \"/\"\nkind = \"j\"";
        dialect(&format!("prefix = \"/x\"\n{keys}\n{submit}"))
    };
    for (text, about, given) in [
        ("listen = \"x\"\n".to_owned(), "listen", "x must"),
        ("max_connections = 0\n".to_owned(), "max_connections", "0 must"),
        ("retention = \"1 fortnight\"\n".to_owned(), "retention", "1 fortnight"),
        ("lease_duration = \"1ms\"\n".to_owned(), "--lease-duration", "1ms"),
        ("auth = \"maybe\"\n".to_owned(), "auth", "maybe"),
        ("max_outstanding = 99999999999999999999\n".to_owned(), "must be a whole", "of at most"),
        ("kind = \"k\"\n".to_owned(), "kind must stand in a [[handler]]", "line 1"),
        ("insecure = \"yes\"\n".to_owned(), "insecure", "yes"),
        ("handler_limit = \"disk=1\"\n".to_owned(), "handler_limit", "disk"),
        ("listn = \"x\"\n".to_owned(), "listn", "listen"),
        (handler(""), "handler", "a command or a url"),
        (handler("command = \"\""), "command", "line 3"),
        (handler("url = \"h\""), "url", "line 3"),
        (command("concurrency = 0"), "concurrency", "line 4"),
        (command("retry_on = \"0\""), "retry_on", "line 4"),
        (command("env = [\"A=B\"]"), "env must be the NAME", "line 4"),
        (command("limit = [\"disk=1\"]"), "limit", "disk=1"),
        (command("limit = \"cpu=1s\""), "limit", "line 4"),
        (command("user = \"no-body\""), "user", "no-body"),
        (command("attempt_timeout = \"1h\""), "attempt_timeout", "url"),
        (command("concurency = 1"), "concurency", "concurrency"),
        (limit("weight = 0"), "weight must be", "weight = 0"),
        (limit("watches = \"x\""), "watches must be", "watches = \"x\""),
        (limit("runing = 1"), "runing", "did you mean running"),
        (limit("kind = \"a b\"\nrunning = 1"), "kind: must be", "kind = \"a b\""),
        (limit("watches = 1\n[[limit]]\nwatches = 2"), "watches is given twice", "watches = 2"),
        (limit("weight = 1").replace("[[", "[").replace("]]", "]"), "[[limit]]", "[limit]"),
        (relay("prefix = \"a\""), "prefix must be", "prefix = \"a\""),
        (relay("prefix = \"/v1\""), "prefix must not be", "prefix = \"/v1\""),
        (relay("prefix = \"/a\"\nanswer = 200"), "answer must be", "answer = 200"),
        (relay("prefix = \"/a\"\nca_file = \"c\""), "https:// URL", "ca_file = \"c\""),
        (relay("prefix = \"/a\"\n[relay.limits]\ndeadline = \"soon\""), "deadline", "\"soon\""),
        (relay("prefix = \"/a\"\n[relay.retries]\nmax_attempts = 0"), "max_attempts", "= 0"),
        ("[[relay]]\nname = \"a\"\n".to_owned(), "a key prefix", "name = \"a\""),
        ("[[relay]]\nupstream = \"http://u:s3cret@h\"\n".to_owned(), "upstream", "u:***@h"),
        (dialect("prefix = \"x\""), "prefix must be", "prefix = \"x\""),
        (job("capacity = 0"), "capacity must be", "capacity = 0"),
        (job("share = \"all\""), "share must be", "share = \"all\""),
        (dialect("prefix = \"/x\""), "a relay or [[dialect.submit]]", "prefix = \"/x\""),
        (
            dialect("prefix = \"/x\"\n[[dialect.submit]]\npath = \"/\"\nkind = \"{a}\""),
            "kind may have",
            "kind = \"{a}\"",
        ),
        ("[[dialect]]\nprefix = \"/x\"\n".to_owned(), "use or file", "prefix = \"/x\""),
        ("[[dialect]]\nuse = \"x\"\nprefix = \"/x\"\n".to_owned(), "use must be", "use = \"x\""),
        ("listen = x\n".to_owned(), "quoted", "listen = x"),
        ("[[limit]\nwatches = 1\n".to_owned(), "line 1", "[[limit]"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("longrun.toml");
        std::fs::write(&path, &text).unwrap();
        let output = run(&["config", "check", path.to_str().unwrap()]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert!(said.contains("longrun.toml, line "), "{text}: {said}");
        assert!(said.contains(about) && said.contains(given), "{text}: {said}");
        assert!(has_example(&said), "{text}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
