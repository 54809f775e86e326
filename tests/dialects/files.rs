//! Bad files: refused at start, each with its place and what is wrong there.

use longrun::config::file;
use longrun::dialect::Dialect;

pub const GOOD: &str = r#"[states]
QUEUED = "a"
RUNNING = "b"
CANCELLING = "c"
SUCCEEDED = "d"
PARTIALLY_SUCCEEDED = "e"
FAILED = "f"
CANCELLED = "g"
[[submit]]
status = 202
body = '{"id": {{ id }}}'
[[route]]
name = "job"
path = "/jobs/{id}"
[[route.answer]]
status = 200
body = '''
{
  "status": {{ status }}
}
'''
"#;

fn refusal(text: &str) -> String {
    Dialect::parse(text).expect_err(text).to_string()
}

#[test]
fn a_bad_dialect_is_refused_with_line_and_reason() {
    Dialect::parse(GOOD).expect("a good one");
    let with = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replacen(from, to, 1)
    };
    let more = |text: &str| format!("{GOOD}{text}\n");
    let route = |text: &str| {
        more(&format!("[[route]]\nname = \"x\"\n{text}\n[[route.answer]]\nstatus = 200"))
    };
    for (text, line, reason) in [
        // What is not the format.
        ("[states".to_owned(), 1, ""),
        (
            with("[states]", "macros = '{% macro m(x) %}{{ id }}{% endmacro %}'\n[states]"),
            1,
            "there is no variable id",
        ),
        (
            with("status = 200", "events = 'nonesuch'\nstatus = 200"),
            16,
            "there is no [[events.nonesuch]]",
        ),
        (
            with(
                "[states]",
                "paths = 1
[states]",
            ),
            1,
            "there is no key paths",
        ),
        (with("status = 202", "statsu = 202"), 10, "no key statsu here; did you mean status?"),
        (with("status = 202", "status = true"), 10, "status must be from 200 to 599"),
        (with("[[route]]", "[route]"), 12, "[route] must be [[route]]: there may be several"),
        (
            with(
                "[states]",
                "id = \"number\"
[states]",
            ),
            1,
            "id must be",
        ),
        (with("CANCELLED = \"g\"\n", ""), 1, "states must have a name for CANCELLED"),
        (with("CANCELLED =", "CANCELED ="), 8, "did you mean CANCELLED?"),
        ("[states]\nQUEUED = \"a\"\n".to_owned(), 1, "there must be a key"),
        // Values out of their range.
        (with("status = 202", "status = 99"), 10, "status must be from 200 to 599"),
        (with("status = 202\n", ""), 9, "an answer must have a status"),
        (with("status = 202", "status = 202\nreplay = true"), 9, "replay is for"),
        (with("status = 202", "status = 202\nheaders.Content-Length = \"1\""), 11, "must not have"),
        (with("status = 202", "status = 202\nheaders.\"a b\" = \"1\""), 11, "must not have"),
        (with("status = 202", "status = 202\ncontent_type = \"json\""), 11, "a media type"),
        (with("/jobs/{id}", "/jobs"), 19, "there is no variable status"),
        (with("/jobs/{id}", "jobs/{id}"), 14, "path must be"),
        (with("/jobs/{id}", "/../{id}"), 14, "path must be"),
        (with("/jobs/{id}", "/{id}/{id}"), 14, "path must be"),
        (with("\"job\"", "\"self\""), 13, "neither self nor base"),
        (route("path = \"/jobs/{id}\""), 22, "is also the route job"),
        (route("path = \"/x/{id}\"\nmethod = \"FETCH\""), 25, "method must be"),
        (route("path = \"/x/{id}\"\naction = \"cancel\""), 22, "other than GET"),
        (more("[limits]\ncapacity = 0"), 23, "at least 1"),
        (more("[limits]\nqueue_timeout = \"soon\""), 23, "must be a duration"),
        (more("[trigger]\nquery = \"async\""), 22, "query and values"),
        (more("[trigger]\nvalues = []"), 22, "must have a query"),
        (more("[trigger]\nprefer = true\nshare = \"s\""), 22, "for dialects with owner"),
        // Streams.
        (with("body = '{", "event = [{data = '1'}]\nbody = '{"), 9, "either body and content_type"),
        (with("body = '{", "resume = \"after\"\nbody = '{"), 9, "or [[event]] tables"),
        (
            more("[[problem]]\nclosing = 'x'\nevent = [{data = '1'}]"),
            22,
            "a problem must have neither resume nor closing",
        ),
        (more("[[problem]]\nevent = [{data = '{{ id }}'}]"), 23, "there is no variable id"),
        (
            with("/jobs/{id}\"", "/jobs/{id}\"\nmethod = 'POST'\naction = 'cancel'")
                .replace("status = 200", "status = 200\nevent = [{data = '1'}]"),
            17,
            "event is for submissions",
        ),
        (with("body = '{", "event = [{data = '{{ sequence }},'}]#"), 11, "not JSON"),
        (with("body = '{", "event = [{data = '{{ sequenec }}'}]#"), 11, "did you mean sequence?"),
        // Templates.
        (with("{{ status }}", "{{ status"), 20, "syntax error"),
        (
            with("{{ status }}", "{{ statsu }}"),
            19,
            "there is no variable statsu; did you mean status?",
        ),
        (
            with("{{ status }}", "{{ error.kode }}"),
            19,
            "no variable error.kode; did you mean error.code?",
        ),
        (with("{{ status }}", "{{ links.jobs }}"), 19, "there is no variable links.jobs"),
        (with("{{ status }}", "{{ status | shout }}"), 19, "there is no filter shout"),
        (with("{{ status }}", "{{ status is loud }}"), 19, "there is no test loud"),
        (with("{{ status }}", "{{ status | safe }}"), 19, "there is no filter safe"),
        (with("{{ status }}", "\"{{ status }}\""), 19, "not JSON"),
        (with("{{ status }}", "{{ status }},"), 20, "not JSON"),
        (with("{{ status }}", "{{ created | time('%Q') }}"), 19, "may have"),
        (with("QUEUED = \"a\"", "QUEUED = \"{{ status }}\""), 2, "there is no variable status"),
        (
            with("status = 202", "status = 202\nheaders.X = \"{{ labels }}\\n\""),
            11,
            "cannot have the value",
        ),
        (
            with("status = 200", "when = \"done\"\nstatus = 200"),
            12,
            "no answer for an operation that is QUEUED",
        ),
        (
            with(
                "status = 200\nbody = '''\n{\n  \"status\": {{ status }}\n}\n'''",
                "replay = true",
            ),
            12,
            "nothing to replay",
        ),
        (with("status = 200", "when = \"done and\"\nstatus = 200"), 16, "syntax error"),
        (more("[[problem]]\nbody = '{{ id }}'"), 23, "there is no variable id"),
        (more("[[problem]]\nbody = '\"{{ problem.message }}\"'"), 23, "not JSON"),
    ] {
        let said = refusal(&text);
        let place = said.split(':').next().unwrap_or_default();
        let is_there = place.split(',').next() == Some(&format!("line {line}"));
        assert!(is_there && said.contains(reason), "not line {line}, {reason}: {said}\n{text}");
    }
}

#[test]
fn a_bad_mount_is_refused_with_line_and_reason() {
    let files = |name: &str| match name {
        "good.toml" => Ok(GOOD.to_owned()),
        "bad.toml" => Ok(GOOD.replace("{{ status }}", "{{ statsu }}")),
        _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
    };
    let mount = |head: &str| {
        format!("[[dialect]]\n{head}\n[[dialect.submit]]\npath = \"/s\"\nkind = \"k\"\n")
    };
    let relay = "[[relay]]\nname = \"r\"\nprefix = \"/r\"\nupstream = \"http://h:1\"\n";
    let good = mount("file = \"good.toml\"\nprefix = \"/a\"");
    let parsed = file::parse(&good, &files).expect("a good one");
    assert_eq!(parsed.dialects[0].name, "good");
    for (text, line, reason) in [
        (mount("use = \"bulk\"\nprefix = \"/a\""), 2, "use must be one of bulk-api,"),
        (mount("prefix = \"/a\""), 1, "either use or file"),
        (mount("file = \"none.toml\"\nprefix = \"/a\""), 2, "none.toml cannot be read"),
        (
            mount("file = \"bad.toml\"\nprefix = \"/a\""),
            2,
            "bad.toml, line 19: there is no variable statsu",
        ),
        (mount("file = \"good.toml\"\nprefix = \"a\""), 3, "prefix must be a path"),
        (mount("file = \"good.toml\"\nprefix = \"/a/../b\""), 3, "prefix must be a path"),
        (mount("file = \"good.toml\"\nprefix = \"/a/{b}{c}\""), 3, "prefix must be a path"),
        (mount("file = \"good.toml\"\nprefix = \"/a\"\nname = \"a b\""), 4, "name must be"),
        (mount("file = \"good.toml\"\nprefix = \"/a\"\ncapacity = 0"), 4, "at least 1"),
        (mount("file = \"good.toml\"\nprefix = \"/a\"\nqueue_timeout = \"x\""), 4, "a duration"),
        (mount("file = \"good.toml\"\nprefix = \"/a\"\ncredentials = \"a b\""), 4, "header field"),
        (
            mount("file = \"good.toml\"\nprefix = \"/a\"").replace("\"k\"", "\"7\""),
            6,
            "kind must be",
        ),
        (
            mount("file = \"good.toml\"\nprefix = \"/a\"").replace("\"k\"", "\"longrun.batch\""),
            6,
            "kind must not be longrun.batch",
        ),
        (
            mount("file = \"good.toml\"\nprefix = \"/a\"").replace("\"/s\"", "\"s\""),
            5,
            "path must be",
        ),
        (mount("use = \"bulk-api\"\nprefix = \"/v1\""), 1, "this server's own"),
        (mount("use = \"bulk-api\"\nprefix = \"/grpc.health.v1.Health\""), 1, "this server's own"),
        (mount("use = \"bulk-api\"\nprefix = \"/livez\""), 1, "this server's own"),
        (
            mount("file = \"good.toml\"\nprefix = \"/\"").replace("\"/s\"", "\"/{x}\""),
            1,
            "this server's own",
        ),
        (mount("file = \"good.toml\"\nprefix = \"/v1/kinds\""), 1, "this server's own"),
        (format!("{good}{}", mount("file = \"good.toml\"\nprefix = \"/b\"")), 7, "given twice"),
        (
            format!("{good}{}", mount("file = \"good.toml\"\nname = \"b\"\nprefix = \"/a\"")),
            7,
            "could be",
        ),
        (
            format!("{relay}{}", mount("file = \"good.toml\"\nprefix = \"/r/x\"")),
            5,
            "of the relay r",
        ),
        ("[[dialect]]\nuse = \"bulk-api\"\nprefix = \"/a\"\n".to_owned(), 1, "either a relay or"),
        (
            format!("{relay}[[dialect]]\nuse = \"bulk-api\"\nprefix = \"/a\"\nrelay = \"r\"\n"),
            5,
            "[trigger]",
        ),
        (
            "[[dialect]]\nuse = \"async-parameter\"\nprefix = \"/a\"\nrelay = \"r\"\n".to_owned(),
            1,
            "no [[relay]]",
        ),
        (mount("file = \"good.toml\"\nprefix = \"/a\"\nroute = 1"), 4, "there is no key route"),
    ] {
        let said = file::parse(&text, &files).expect_err(&text).to_string();
        let place = said.split([',', ':']).next();
        let is_there = place == Some(&format!("line {line}"));
        assert!(is_there && said.contains(reason), "not line {line}, {reason}: {said}\n{text}");
    }
}

#[test]
fn the_program_names_both_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("longrun.toml");
    let mount = "[[dialect]]\nfile = \"mine.toml\"\nprefix = \"/a\"\n";
    std::fs::write(&path, mount).expect("a file");
    let bad = GOOD.replace("{{ status }}", "{{ statsu }}");
    std::fs::write(directory.path().join("mine.toml"), bad).expect("a file");
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_longrun"))
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&path)
        .output()
        .expect("a program");
    let said = String::from_utf8_lossy(&program.stderr);
    assert_eq!(program.status.code(), Some(2), "{said}");
    let why = "longrun.toml, line 2, column 8: mine.toml, line 19: there is no variable statsu";
    assert!(said.contains(why), "{said}");
}
