//! Configuration files: what stands in them, what wins over them, and what is said of a wrong one.

use std::path::Path;

use super::support::{Server, longrun, stderr, stdout};

/// Checks a file of that text.
fn check(text: &str, flags: &[&str]) -> std::process::Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = longrun(&["config", "check", path.to_str().unwrap()]);
    command.args(flags).output().unwrap()
}

/// A server whose store and port are said in the file, with more of it.
fn serve(more: &str, edit: impl FnOnce(&mut std::process::Command, &Path)) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("of-file.db");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstore = \"sqlite:{}\"\nretention = \"1h\"\nlog = \"debug\"\n{more}",
        store.display()
    );
    let path = directory.path().join("longrun.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = longrun(&["serve", "--config", path.to_str().unwrap()]);
    edit(&mut command, directory.path());
    Server::spawned(command, directory)
}

fn log(server: &Server) -> String {
    std::fs::read_to_string(server.directory.path().join("log")).unwrap()
}

#[test]
fn a_file_says_what_flags_say_and_handlers_are_tables() {
    let more = "[[handler]]\nkind = \"shout\"\ncommand = \"tr a-z A-Z; echo $GREETING $OTHER\"\n\
                env = [\"GREETING\"]\nconcurrency = 2\n\n\
                [[handler]]\nkind = \"words\"\ncommand = [\"wc\", \"-w\"]\n\n\
                [[handler]]\nkind = \"flaky\"\ncommand = \"[ $LONGRUN_ATTEMPT = 2 ] || exit 9\"\nretry_on = \"9\"\n";
    let server = serve(more, |command, _| {
        command.env("GREETING", "hi").env("OTHER", "no");
    });
    let shouted = server.submit(&["shout", "hello"]);
    server.expect(0, &["wait", &shouted]);
    assert_eq!(server.expect(0, &["result", &shouted]), "HELLOhi\n");
    let counted = server.json(&["submit", "words", "a b c", "--wait"]);
    assert_eq!(counted["result"]["text"].as_str().unwrap().trim(), "3");
    let flaky = server.json(&["submit", "flaky", "--wait", "--max-attempts", "2"]);
    assert_eq!(flaky["attempt"], 2);
    assert!(server.directory.path().join("of-file.db").exists());
    assert!(log(&server).contains("DEBUG"), "the level is the file's");
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let handler = "[[handler]]\nkind = \"who\"\ncommand = \"echo file\"\n";
    let server = serve(handler, |command, directory| {
        let store = format!("sqlite:{}", directory.join("of-variable.db").display());
        command.env("LONGRUN_STORE", store).env("LONGRUN_LOG", "warn").args(["--log", "info"]);
        command.args(["--handler", "who=echo flag"]);
    });
    let name = server.submit(&["who"]);
    server.expect(0, &["wait", &name]);
    assert_eq!(server.expect(0, &["result", &name]), "flag\n");
    assert!(server.directory.path().join("of-variable.db").exists());
    assert!(!server.directory.path().join("of-file.db").exists());
    let log = log(&server);
    assert!(log.contains("INFO") && !log.contains("DEBUG"), "{log}");
}

#[test]
fn a_check_prints_what_the_file_comes_to_without_secrets() {
    let text = "store = \"postgres://me:s3cret@db/jobs?password=s3cret\"\nmax_connections = 7\n\
                insecure = true\nallowed_host = [\"a.example\"]\n\n\
                [[handler]]\nkind = \"k\"\nurl = \"https://h.example/f?code=s3cret&v=1\"\n\
                headers = { authorization = \"Bearer s3cret\", x-team = \"maps\" }\n\n\
                [[limit]]\ntenant = \"acme\"\nrunning = 3\n";
    let output = check(text, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = stdout(&output);
    for line in [
        "store = \"postgres://me@db/jobs\"  # line 1",
        "max_connections = 7  # line 2",
        "insecure = true  # line 3",
        "allowed_host = [\"a.example\"]  # line 4",
        "listen = \"127.0.0.1:7420\"",
        "# public_url = \"URL\"",
        "url = \"https://h.example/f?code=***&v=1\"",
        "authorization = \"***\"",
        "x-team = \"maps\"",
        "running = 3",
    ] {
        assert!(printed.lines().any(|printed| printed.trim() == line), "{line}:\n{printed}");
    }
    assert!(!printed.contains("s3cret"), "{printed}");
    // What it prints is such a file.
    let again = check(&printed, &[]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    let variable = longrun(&["config", "check"]).env("LONGRUN_RETENTION", "3d").output().unwrap();
    assert!(stdout(&variable).contains("retention = \"3d\"  # LONGRUN_RETENTION\n"));
    let json = check(text, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!((&json["max_connections"], &json["limit"][0]["running"]), (&7.into(), &3.into()));
}

#[test]
fn a_wrong_variable_is_named() {
    let output = longrun(&["config", "check"]).env("LONGRUN_RETENTION", "soon").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: LONGRUN_RETENTION: invalid value 'soon'"), "{said}");
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_with_what_was_probably_meant() {
    for (text, said) in [
        ("\nlistn = \"x\"\n", "line 2, column 1: there is no key listn here; did you mean listen?"),
        ("listen = \"x\"\n", "line 1, column 1: listen x must be an IP address and a port"),
        ("max-connections = 3\n", "did you mean max_connections?"),
        ("retention = \"1 fortnight\"\n", "line 1, column 1: retention"),
        ("auth = \"maybe\"\n", "line 1, column 1: auth"),
        ("insecure = \"yes\"\n", "insecure yes must be true or false"),
        ("listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n", "listen must be one value, not a list"),
        ("store = \"mysql://a:s3cret@b\"\n", "line 1, column 1: store"),
        ("lease_duration = \"1ms\"\n", "--lease-duration 1ms must be from 1s to 1h"),
        ("[[handlr]]\nkind = \"k\"\n", "there is no key handlr here; did you mean handler?"),
        (
            "[[handler]]\nkind = \"k\"\ncommand = \"x\"\nlisten = \"127.0.0.1:0\"\n",
            "before the first [[table]]",
        ),
        ("worker_id = \"w\"\n", "worker_id is a setting of `longrun worker`"),
        ("server = \"http://h\"\n", "server is a setting of `longrun worker`"),
        ("handler = \"k=true\"\n", "handler must be"),
        (
            "[[handler]]\nkind = \"longrun.batch\"\ncommand = \"x\"\n",
            "kind must not be longrun.batch",
        ),
    ] {
        let output = check(text, &[]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let refused = stderr(&output);
        assert!(refused.contains(said) && refused.contains("longrun.toml"), "{text}: {refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
    }
    let missing = longrun(&["serve", "--config", "nosuchfile.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("nosuchfile.toml cannot be read"));
}

#[test]
fn a_worker_serves_several_kinds_and_takes_a_file() {
    let server = Server::start(&[]);
    let mut words = server.command(&["worker", "-k", "a", "-k", "b", "--"]);
    words.args(["sh", "-c", "echo $LONGRUN_KIND"]);
    let path = server.directory.path().join("worker.toml");
    let text = "worker_id = \"of-file\"\nconcurrency = 3\n\n\
                [[handler]]\nkind = \"c\"\ncommand = \"echo c\"\nconcurrency = 1\n\n\
                [[handler]]\nkind = \"d\"\ncommand = \"echo d\"\n";
    std::fs::write(&path, text).unwrap();
    let of_file = server.command(&["worker", "--config", path.to_str().unwrap()]);
    let mut workers: Vec<_> = [words, of_file].map(|mut it| it.spawn().unwrap()).into();
    for kind in ["a", "b", "c", "d"] {
        let operation = server.json(&["submit", kind, "--wait=20s"]);
        assert_eq!(operation["result"]["text"].as_str().map(str::trim), Some(kind));
        let is_of_file = operation["workerId"] == "of-file";
        assert_eq!(is_of_file, ["c", "d"].contains(&kind), "{operation}");
    }
    for worker in &mut workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let nothing = server.command(&["worker", "k"]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    let text = "[[relay]]\nname = \"r\"\nprefix = \"/r\"\nupstream = \"http://h\"\n";
    std::fs::write(&path, text).unwrap();
    let relay = server.command(&["worker", "--config", path.to_str().unwrap()]).output().unwrap();
    assert!(stderr(&relay).contains("[[relay]] is for `longrun serve`"), "{}", stderr(&relay));
}

#[test]
fn pages_beside_mounted_apis_are_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("longrun.toml");
    let relay = "[[relay]]\nname = \"r\"\nprefix = \"/r\"\nupstream = \"http://127.0.0.1:9\"\n";
    std::fs::write(&config, relay).unwrap();
    for (pages, is_warned) in [("on", true), ("off", false)] {
        let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--pages", pages]);
        command.arg("--config").arg(&config).current_dir(directory.path());
        let server = Server::spawned(command, tempfile::tempdir().unwrap());
        server.expect(0, &["kinds"]);
        let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
        assert_eq!(log.contains("have one origin"), is_warned, "{log}");
    }
}

#[test]
fn a_table_confines_its_handler_in_place_of_what_confines_all() {
    let more = "handler_limit = [\"cpu=9s\", \"open-files=99\"]\nhandler_own_directory = true\n\n\
                [[handler]]\nkind = \"of-all\"\ncommand = \"ulimit -t; ulimit -n; ls -A; pwd\"\n\n\
                [[handler]]\nkind = \"own\"\ncommand = \"ulimit -t; ulimit -n; ulimit -v; pwd\"\n\
                limit = [\"cpu=3s\", \"memory=1GiB\"]\nown_directory = false\n\n\
                [[handler]]\nkind = \"rights\"\ncommand = \"grep NoNewPrivs /proc/self/status || echo NoNewPrivs: 1\"\n";
    let server = serve(more, |_, _| {});
    let lines = |kind| {
        let operation = server.json(&["submit", kind, "--wait=20s"]);
        let text = operation["result"]["text"].as_str().unwrap_or_else(|| panic!("{operation}"));
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (of_all, own) = (lines("of-all"), lines("own"));
    assert_eq!(of_all[..2], ["9", "99"], "{of_all:?}");
    assert_eq!(own[..3], ["3", "99", "1048576"], "{own:?}");
    let here = std::env::current_dir().unwrap();
    assert_eq!((own.len(), own[3].as_str()), (4, here.to_str().unwrap()));
    assert_eq!(of_all.len(), 3, "the directory is empty: {of_all:?}");
    assert_ne!(of_all[2], own[3]);
    // A confined command cannot get rid of its limits by a program such as sudo.
    assert!(lines("rights")[0].split_whitespace().eq(["NoNewPrivs:", "1"]));
}
