//! Small things for people: help without secrets, several names, tables, completions, the log of a start.

use std::time::{Duration, Instant};

use super::support::{Server, longrun, run, stderr, stdout};

#[test]
fn no_help_shows_what_is_secret() {
    let help = |line: &[&str]| {
        let mut command = longrun(&[line, &["--help"]].concat());
        for name in [
            "LONGRUN_STORE",
            "LONGRUN_OBJECTS",
            "LONGRUN_SERVER",
            "LONGRUN_HANDLER",
            "LONGRUN_JWT_KEYS",
        ] {
            command.env(name, "postgres://me:s3cret@host/jobs?password=s3cret");
        }
        stdout(&command.env("LONGRUN_TOKEN", "s3cret").output().unwrap())
    };
    let commands = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let lines = lines.take_while(|line| !line.is_empty());
        lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
    };
    let mut seen = 0;
    for outer in commands(&help(&[])) {
        let text = help(&[&outer]);
        assert!(!text.contains("s3cret"), "{outer}: {text}");
        for inner in commands(&text).iter().filter(|_| outer != "help") {
            let text = help(&[&outer, inner]);
            assert!(!text.contains("s3cret"), "{outer} {inner}: {text}");
            seen += 1;
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
    for line in [
        &["serve", "--store", "postgrs://me:s3cret@h/d"][..],
        &["store", "copy", "postgrs://me:s3cret@h/d", "sqlite:x.db"],
        &["store", "backup", "x", "--store", "postgrs://me:s3cret@h/d"],
        &["store", "copy", "postgres://me:s3cret@127.0.0.1:1/d", "sqlite:x.db"],
    ] {
        let refused = run(line);
        assert!(
            !refused.status.success() && !stderr(&refused).contains("s3cret"),
            "{line:?}: {}",
            stderr(&refused)
        );
    }
}

#[test]
fn several_names_are_taken_where_they_make_sense() {
    let server = Server::start(&["ok=cat", "fail=exit 1"]);
    let (a, b) = (server.submit(&["ok", "x"]), server.submit(&["fail"]));
    server.expect(3, &["wait", &a, &b]);
    let watched = server.expect(3, &["watch", &a, &b]);
    for (name, state) in [(&a, "SUCCEEDED"), (&b, "FAILED")] {
        let id = name.trim_start_matches("operations/");
        let is_shown = |line: &str| line.contains(id) && line.contains(state);
        assert!(watched.lines().any(is_shown), "{watched}");
    }
    let events = server.expect(0, &["events", &a, &b]);
    assert!(events.contains(&a) && events.contains(&b), "{events}");
    let table = server.expect(0, &["get", &a, &b, "-o", "table"]);
    assert!(table.starts_with("ID ") && table.lines().count() == 3, "{table}");
    assert_eq!(server.expect(0, &["get", &a, &b, "-o", "name"]), format!("{a}\n{b}\n"));
    let yaml = server.expect(0, &["get", &a, "-o", "yaml"]);
    assert!(yaml.contains(&format!("name: {a}\n")), "{yaml}");
    let json = server.expect(0, &["get", &a, "-o", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["name"], a.as_str());
    let nothing = run(&["watch"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).contains("--filter"), "{}", stderr(&nothing));
}

#[test]
fn shells_complete_names_kinds_and_states() {
    let server = Server::start(&["report.build=cat"]);
    let name = server.submit(&["report.build", "--wait"]);
    let id = name.trim_start_matches("operations/");
    let complete = |words: &[&str]| {
        let mut command = server.command(&[&["--", "longrun"], words].concat());
        command.env("LONGRUN_COMPLETE", "fish");
        stdout(&command.output().unwrap())
    };
    assert!(complete(&["get", ""]).contains(id));
    assert!(complete(&["cancel", &id[..9]]).contains(id));
    assert!(complete(&["result", "operations/"]).contains(&name));
    assert!(complete(&["submit", "rep"]).contains("report.build"));
    assert!(complete(&["worker", ""]).contains("report.build"));
    assert!(complete(&["list", "--state", "queued,fa"]).contains("queued,failed"));
    assert!(complete(&["submit", "k", "--idem"]).contains("--idempotency-key"));
    assert!(complete(&["conf"]).contains("config"));
    // Without a server there is nothing to offer, and nothing to say.
    let away = complete(&["get", "--server", "http://127.0.0.1:9", ""]);
    assert!(!away.contains(id), "{away}");
}

/// The line of the log that has these words, once it is written.
fn logged(server: &Server, words: &str) -> String {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
        if let Some(line) = log.lines().find(|line| line.contains(words)) {
            return line.to_owned();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{words} is not logged");
}

#[test]
fn a_server_says_at_its_start_what_it_has() {
    let server = Server::start(&[]);
    server.submit(&["nobody"]);
    let line = logged(&server, "created a new store");
    assert!(line.contains(&format!("listening=\"{}\"", server.url)), "{line}");
    let store = server.directory.path().join("test.db");
    let store = format!("sqlite:{}", store.display());
    let mut server = server;
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let directory = std::mem::replace(&mut server.directory, tempfile::tempdir().unwrap());
    let again = Server::over(&store, directory, &[]);
    let line = logged(&again, "the store is open");
    assert!(line.contains("unfinished=1") && line.contains("version="), "{line}");
    // An empty file becomes a new store, too.
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let store = format!("sqlite:{}", empty.display());
    logged(&Server::over(&store, directory, &[]), "created a new store");
    let nowhere = again.directory.path().join("no/such/test.db");
    let nowhere = format!("sqlite:{}", nowhere.display());
    let refused = run(&["serve", "--listen", "127.0.0.1:0", "--store", &nowhere]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("there is no directory"), "{}", stderr(&refused));
}
