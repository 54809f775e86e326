//! Every name that a dialect file or its mount can refer to: one that is misspelt is refused at start, with the one that
//! was meant.

use longrun::config::file;
use longrun::dialect::Dialect;

use crate::files::GOOD;

const ANYWHERE: &[&str] = &[
    "call.method",
    "call.path",
    "call.parameters",
    "call.headers",
    "mount.name",
    "mount.prefix",
    "places",
    "now",
    "links.self",
    "links.base",
    "links.job",
    "links.jobs",
];

const OF_OPERATIONS: &[&str] = &[
    "id",
    "uuid",
    "hex",
    "decimal",
    "number",
    "kind",
    "state",
    "status",
    "done",
    "created",
    "updated",
    "started",
    "ended",
    "expires",
    "attempt",
    "dismissed",
    "progress.percent",
    "progress.done",
    "progress.total",
    "progress.message",
    "labels",
    "request.method",
    "request.target",
    "request.path",
    "request.query",
    "request.uri",
    "request.trigger",
    "request.parameters",
    "request.headers",
    "request.json",
    "request.text",
    "result.status",
    "result.content_type",
    "result.size",
    "result.inline",
    "result.json",
    "result.text",
    "error.id",
    "error.code",
    "error.causes",
    "errors",
    "warnings",
    "history",
];

const OF_ERRORS: &[&str] =
    &["id", "code", "reason", "message", "grpc_code", "source", "details", "causes"];

const OF_RECORDS: &[&str] = &["number", "at", "state", "done", "text"];

const OF_PROBLEMS: &[&str] = &[
    "problem.status",
    "problem.reason",
    "problem.title",
    "problem.message",
    "problem.retry_after",
    "problem.allow",
];

/// What stands around the names: a macro, a list, a refusal, shared events.
const MORE: &str = "[[route]]\nname = \"jobs\"\npath = \"/jobs\"\nlist = {}\n[[route.answer]]\nstatus = 200\n\
                    body = '''{% for it in operations %}{% if it.id %}{% endif %}{% endfor %}null'''\n\
                    [[problem]]\nbody = '{{ problem.status }}'\n[[events.job]]\ndata = '1'\n";
const MACRO: &str = "{% macro show(it) %}{% if it.id %}{% endif %}null{% endmacro %}";

/// A file that is good but for a name: what of the file is replaced, and by what, with `NAME` for the name.
#[derive(Clone, Copy)]
struct Place {
    from: &'static str,
    to: &'static str,
    names: &'static [&'static [&'static str]],
}

impl Place {
    fn text(self, name: &str) -> String {
        let shown = "{% from \"macros\" import show %}{{ show(operation) }}";
        let whole = format!("macros = '''{MACRO}'''\n{GOOD}{MORE}");
        let whole = whole.replace("{\"id\": {{ id }}}", shown);
        assert!(whole.contains(self.from), "{}", self.from);
        whole.replacen(self.from, &self.to.replace("NAME", name), 1)
    }
}

/// Where names stand in a dialect's file, and the names that there are.
const PLACES: &[Place] = &[
    at("{{ status }}", "{{ NAME }}", &[ANYWHERE, OF_OPERATIONS]),
    at(
        "{{ status }}",
        "{% if state == 'never' %}{{ NAME }}{% endif %}null",
        &[ANYWHERE, OF_OPERATIONS],
    ),
    at(
        "{% if it.id %}{% endif %}null{% endmacro",
        "{% if it.NAME %}{% endif %}null{% endmacro",
        &[ANYWHERE, OF_OPERATIONS],
    ),
    at(
        "operations %}{% if it.id %}",
        "operations %}{% if it.NAME %}",
        &[&["id", "status", "error", "labels"]],
    ),
    at("operations %}{% if it.id %}", "operations %}{% if it.errors[0].NAME %}", &[OF_ERRORS]),
    at(
        "{{ status }}",
        "{% for it in errors %}{% if it.NAME %}{% endif %}{% endfor %}null",
        &[OF_ERRORS],
    ),
    at(
        "{{ status }}",
        "{% for it in errors %}{% for it in it.causes %}{% if it.NAME %}{% endif %}{% endfor %}{% endfor %}null",
        &[OF_ERRORS],
    ),
    at(
        "{{ status }}",
        "{% for it in history %}{% if it.NAME %}{% endif %}{% endfor %}null",
        &[OF_RECORDS],
    ),
    at("{{ problem.status }}", "{{ NAME }}", &[OF_PROBLEMS]),
    at("{{ status }}", "{% from 'macros' import NAME %}null", &[&["show"]]),
    at(
        "{{ status }}",
        "{% import 'macros' as m %}{% if state == 'never' %}{{ m.NAME(1) }}{% endif %}null",
        &[&["show"]],
    ),
    at("{{ status }}", "{% from 'NAME' import show %}null", &[&["macros"]]),
    at("{{ status }}", "{{ kind | NAME }}", &[&["upper", "lower", "title", "length", "quoted"]]),
    at("{{ status }}", "{{ 1 if id is NAME else 2 }}", &[&["string", "none", "defined", "number"]]),
    at("{{ status }}", "{{ NAME(3) }}", &[&["range"]]),
    at("{{ status }}", "{% NAME x = 1 %}{{ x }}", &[&["set"]]),
    at("status = 202\nbody =", "status = 202\nevents = 'NAME'\nheaders.X =", &[&["job"]]),
    at("CANCELLED =", "NAME =", &[&["CANCELLED"]]),
    at(
        "path = \"/jobs/{id}\"",
        "path = \"/jobs/{id}\"\nmethod = 'POST'\naction = 'NAME'",
        &[&["read", "cancel", "delete", "dismiss", "retry"]],
    ),
];

const fn at(
    from: &'static str,
    to: &'static str,
    names: &'static [&'static [&'static str]],
) -> Place {
    Place { from, to, names }
}

/// The name with one letter of its last part left out, or with one twice where it is short.
fn misspelt(name: &str) -> String {
    let start = name.rfind('.').map_or(0, |dot| dot + 1);
    let (before, last) = name.split_at(start);
    let middle = last.len() / 2;
    match last.len() {
        0..=4 => format!("{name}{}", &last[last.len() - 1..]),
        _ => format!("{before}{}{}", &last[..middle], &last[middle + 1..]),
    }
}

#[test]
fn every_name_is_known() {
    let shown = [ANYWHERE, OF_OPERATIONS].concat();
    let shown: Vec<String> = shown.iter().map(|name| format!("{{{{ {name} }}}}")).collect();
    let text = format!("{GOOD}{MORE}").replace("{{ status }}", &format!("[{}]", shown.join(", ")));
    Dialect::parse(&text).expect(&text);
}

#[test]
fn a_misspelt_name_is_refused_wherever_it_stands() {
    for place in PLACES {
        let names = place.names.concat();
        let good = place.text(names[0]);
        Dialect::parse(&good).expect(&good);
        for name in &names {
            let wrong = misspelt(name);
            assert!(!names.contains(&wrong.as_str()), "{wrong}");
            let text = place.text(&wrong);
            let said = Dialect::parse(&text).expect_err(&text).to_string();
            let last = wrong.rsplit('.').next().unwrap_or_default();
            assert!(said.contains(last), "{wrong}: {said}\n{text}");
            // What is shorter could be anything.
            assert!(last.len() < 4 || said.contains("did you mean"), "{wrong}: {said}\n{text}");
        }
    }
}

#[test]
fn what_was_meant_is_a_name_of_the_same_place() {
    for (template, meant) in [
        ("{{ links.jbos }}", "links.jobs"),
        ("{{ links.slef }}", "links.self"),
        ("{{ operation.links.slef }}", "operation.links.self"),
        ("{{ operation.error.mesage }}", "operation.error.message"),
        ("{{ request.heders.x }}", "request.headers"),
        ("{{ rnage(3) }}", "range"),
    ] {
        let text = format!("{GOOD}{MORE}").replace("{{ status }}", template);
        let said = Dialect::parse(&text).expect_err(&text).to_string();
        assert!(said.contains(&format!("did you mean {meant}?")), "{template}: {said}");
    }
}

#[test]
fn a_misspelt_name_of_a_mount_is_refused() {
    let mount = "[[relay]]\nname = \"billing\"\nprefix = \"/r\"\nupstream = \"http://h:1\"\n\
                 [[dialect]]\nuse = \"async-parameter\"\nprefix = \"/r\"\nrelay = \"billing\"\n\
                 [[dialect]]\nfile = \"a.toml\"\nprefix = \"/w/{account}\"\n\
                 [[dialect.submit]]\npath = \"/{process}/jobs\"\nkind = \"run.{process}\"\n";
    let refused = |dialect: &str, from: &str, to: &str| {
        let files = |_: &str| Ok(dialect.to_owned());
        file::parse(mount, &files).expect("a good one");
        let text = mount.replace(from, to);
        file::parse(&text, &files).expect_err(&text).to_string()
    };
    let dialect = GOOD.replace("{{ status }}", "{{ places.account }}");
    for (from, to, meant) in [
        ("relay = \"billing\"", "relay = \"biling\"", "billing"),
        ("async-parameter", "async-paramter", "async-parameter"),
        ("{account}", "{acount}", "acount"),
        ("run.{process}", "run.{proces}", "process"),
    ] {
        let said = refused(&dialect, from, to);
        assert!(said.contains(&format!("did you mean {meant}?")), "{to}: {said}");
    }
    // Also where a macro gets it from the operation that it is given.
    let macros = "macros = '''{% macro show(it) %}{{ it.places.account }}{% endmacro %}'''\n";
    let shown = "{% from 'macros' import show %}{{ show(operation) }}";
    let dialect = format!("{macros}{}", GOOD.replace("{{ status }}", shown));
    let said = refused(&dialect, "{account}", "{acount}");
    assert!(said.contains("places.account"), "{said}");
}
