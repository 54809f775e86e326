//! The direction of dependencies: no module names one that stands above it, which is held as data, and files do not name
//! each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module with the modules of this crate that it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("time_text", &[]),
    ("thread_time", &[]),
    ("codes", &[]),
    ("words", &[]),
    ("operation", &["time_text"]),
    ("files", &[]),
    ("store", &["files", "operation"]),
    ("objects", &["files", "operation"]),
    ("catalogue", &["store"]),
    ("spans", &["codes", "operation"]),
    ("metrics", &["spans", "operation"]),
    ("engine", &["metrics", "spans", "store", "operation", "thread_time"]),
    (
        "service",
        &["catalogue", "codes", "engine", "metrics", "objects", "spans", "store", "operation"],
    ),
    (
        "auth",
        &["config", "catalogue", "files", "relay", "service", "engine", "operation", "time_text"],
    ),
    ("proto", &["time_text"]),
    ("wire", &["proto", "service", "store", "operation", "time_text"]),
    ("grpc", &["wire", "proto", "service", "engine", "metrics", "operation"]),
    (
        "http",
        &[
            "relay",
            "config",
            "dialect",
            "metrics",
            "spans",
            "wire",
            "proto",
            "service",
            "store",
            "operation",
            "thread_time",
            "time_text",
        ],
    ),
    (
        "pages",
        &[
            "auth",
            "http",
            "wire",
            "proto",
            "service",
            "store",
            // For the samples of its tests.
            "dialect",
            "operation",
            "time_text",
            "words",
        ],
    ),
    (
        "webhooks",
        &[
            "catalogue",
            "engine",
            "metrics",
            "operation",
            "proto",
            "relay",
            "service",
            "store",
            "wire",
        ],
    ),
    ("batches", &["engine", "operation", "service"]),
    ("client", &["proto"]),
    ("worker", &["client", "proto"]),
    ("dialect", &["operation", "time_text"]),
    ("config", &["dialect", "files", "metrics", "operation", "time_text", "worker"]),
    ("relay", &["config", "worker", "client", "operation"]),
    (
        "server",
        &[
            "auth",
            "batches",
            "catalogue",
            "config",
            "files",
            "relay",
            "proto",
            "grpc",
            "http",
            "metrics",
            "pages",
            "service",
            "engine",
            "objects",
            "spans",
            "store",
            "operation",
            "client",
            "telemetry",
            "webhooks",
        ],
    ),
    ("transfer", &["catalogue", "engine", "objects", "operation", "service", "store", "webhooks"]),
    ("telemetry", &[]),
    (
        "cli",
        &[
            "config",
            "telemetry",
            "server",
            "client",
            "worker",
            "relay",
            "service",
            "store",
            "proto",
            "transfer",
            "objects",
            "engine",
            "files",
            "operation",
            "time_text",
            "words",
        ],
    ),
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a source names by `crate::`, its comments left out.
fn named(source: &str) -> Vec<&str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or(""))
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn no_module_names_one_above_it() {
    let rules: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for file in files {
        let place = file.strip_prefix(&root).expect("a file of src");
        let first = place.components().next().expect("a name").as_os_str();
        let module = first.to_str().expect("a name").trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some(allowed) = rules.get(module) else {
            wrong.push(format!("{} belongs to no known module", place.display()));
            continue;
        };
        let source = std::fs::read_to_string(&file).expect("a source");
        for name in named(&source) {
            checked += 1;
            if name != module && !allowed.contains(&name) {
                wrong.push(format!("{} names crate::{name}", place.display()));
            }
        }
    }
    assert!(checked > 100, "the sources were not read: {checked} names");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A place among the modules, `["store", "sqlite", "rows"]`: of a file, where a `mod.rs` has that of its folder, or of
/// something in it.
type Place = Vec<String>;

/// The files of the library, but for unit tests, which may name anything.
fn library() -> BTreeMap<Place, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut library = BTreeMap::new();
    for file in files {
        let place = file.strip_prefix(&root).expect("a file of src").with_extension("");
        let names = place.iter().map(|name| name.to_str().expect("a name").to_owned());
        let place: Place = names.filter(|name| !matches!(name.as_str(), "mod" | "lib")).collect();
        if !place.iter().any(|name| name == "tests") {
            library.insert(place, std::fs::read_to_string(&file).expect("a source"));
        }
    }
    library
}

/// Reads the path that comes next, or the whole tree of them that a `use` has; answers what comes behind.
fn read_paths<'a>(
    tokens: &'a [&'a str],
    before: &[&'a str],
    found: &mut Vec<Vec<&'a str>>,
) -> &'a [&'a str] {
    match tokens {
        ["{", inner @ ..] => {
            let mut rest = inner;
            while !matches!(rest, [] | ["}", ..]) {
                rest = match rest {
                    [",", behind @ ..] | ["as", _, behind @ ..] => behind,
                    _ => read_paths(rest, before, found),
                };
            }
            rest.get(1..).unwrap_or_default()
        }
        [name, ":", ":", behind @ ..] => read_paths(behind, &[before, &[*name]].concat(), found),
        [name, behind @ ..] => {
            found.push([before, &[*name]].concat());
            behind
        }
        [] => tokens,
    }
}

/// What a file names of this library, from the root on, by paths in its code and its folder's files by `mod`; and what
/// is named by its `use`, which others may find there.
fn names(
    file: &Place,
    source: &str,
    is_file: impl Fn(&[String]) -> bool,
) -> (Vec<Place>, Vec<Place>) {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or(line));
    let mut code = String::new();
    for c in lines.flat_map(|line| line.chars().chain([' '])) {
        match c.is_alphanumeric() || c == '_' {
            true => code.push(c),
            false => code.extend([' ', c, ' ']),
        }
    }
    let tokens: Vec<&str> = code.split_whitespace().collect();
    let (mut named, mut used) = (Vec::new(), Vec::new());
    for at in 0..tokens.len() {
        let (before, behind) = tokens.split_at(at);
        if let (Some(&"mod"), [name, ";", ..]) = (before.last(), behind) {
            named.push([&file[..], &[(*name).to_owned()]].concat());
        }
        let is_use = before.last() == Some(&"use");
        let is_path =
            matches!(behind, ["crate" | "super", ":", ":", ..]) && !before.ends_with(&[":", ":"]);
        let mut paths = Vec::new();
        if is_use || is_path {
            read_paths(behind, &[], &mut paths);
        }
        for path in paths {
            let up = path.iter().filter(|name| **name == "super").count();
            let base = if path[0] == "crate" { &[] } else { &file[..file.len() - up] };
            let own = path.iter().filter(|name| !matches!(**name, "crate" | "super" | "self"));
            let own: Place = own.map(|name| (*name).to_owned()).collect();
            let place = [base, &own].concat();
            // Without such a word it begins with a file below this one, or with another crate.
            if own.len() < path.len() || is_file(&[base, &own[..1]].concat()) {
                named.push(place.clone());
                used.extend(is_use.then_some(place));
            }
        }
    }
    (named, used)
}

/// Which files each file names. What one takes from a file that has it from another by `use` is the other's. What it
/// takes from its own folder's `mod.rs` does not count.
fn edges(library: &BTreeMap<Place, String>) -> BTreeMap<&Place, BTreeSet<Place>> {
    let (mut named, mut elsewhere) = (BTreeMap::new(), BTreeMap::new());
    for (file, source) in library {
        let (names, used) = names(file, source, |place| library.contains_key(place));
        named.insert(file, names);
        let found_here =
            |place: Place| Some(([&file[..], place.last_chunk::<1>()?].concat(), place));
        elsewhere.extend(used.into_iter().filter_map(found_here));
    }
    let file_of = |mut place: Place| {
        for _ in 0..library.len() {
            let file =
                (0..=place.len()).rev().find(|at| library.contains_key(&place[..*at])).unwrap_or(0);
            match place.get(..=file).and_then(|name| elsewhere.get(name)) {
                Some(there) => place = [there, &place[file + 1..]].concat(),
                None => return place[..file].to_vec(),
            }
        }
        panic!("{place:?} is had from each other")
    };
    let mut edges = BTreeMap::new();
    for (file, names) in named {
        let files = names.into_iter().map(file_of).filter(|named| !file.starts_with(named));
        edges.insert(file, files.collect());
    }
    edges
}

/// Whether one file names another, be it over others.
fn reaches(from: &Place, to: &Place, edges: &BTreeMap<&Place, BTreeSet<Place>>) -> bool {
    let (mut next, mut known) = (vec![from], BTreeSet::new());
    while let Some(file) = next.pop() {
        if file == to {
            return true;
        }
        next.extend(edges.get(file).into_iter().flatten().filter(|named| known.insert(*named)));
    }
    false
}

/// What the files of circles name of each other. Files that name nothing, or are named by nothing, are taken away again
/// and again before, so that hardly any are left to be looked at.
fn circles(library: &BTreeMap<Place, String>) -> Vec<String> {
    let mut left = edges(library);
    loop {
        let files: BTreeSet<Place> = left.keys().map(|file| (*file).clone()).collect();
        let named: BTreeSet<Place> = left.values().flatten().cloned().collect();
        left.retain(|file, names| {
            names.retain(|name| files.contains(name));
            named.contains(*file) && !names.is_empty()
        });
        if left.len() == files.len() {
            break;
        }
    }
    let in_words = |(file, names): (&&Place, &BTreeSet<Place>)| {
        let names = names.iter().filter(|name| reaches(name, file, &left));
        let names: Vec<String> = names.map(|name| name.join("::")).collect();
        (!names.is_empty()).then(|| format!("{} names {}", file.join("::"), names.join(", ")))
    };
    left.iter().filter_map(in_words).collect()
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    let library = library();
    assert!(library.len() > 300, "the sources were not read: {} files", library.len());
    let circles = circles(&library);
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_by_whatever_words_it_is_made() {
    let found = |files: &[(&str, &str)]| {
        let place =
            |file: &str| file.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect();
        circles(&files.iter().map(|(file, source)| (place(file), (*source).to_owned())).collect())
    };
    let circle = ["a::b names a::c", "a::c names a::b"];
    let root = ("", "pub mod a;\nmod d;");
    let a = ("a", "mod b;\nmod c;\npub use b::Of;\nuse self::c::{Other, More as Much};");
    let both = |b: &str, c: &str| found(&[root, a, ("a::b", b), ("a::c", c), ("d", "")]);
    assert_eq!(both("use super::c::X;", "use crate::a::b::{self, Y};"), circle);
    assert_eq!(both("use super::{\n  c::{X, Z},\n  W,\n};", "fn f() -> super::b::Y {}"), circle);
    assert_eq!(both("pub(crate) use super::Other;", "use super::super::a::Of;"), circle);
    assert_eq!(both("use super::c::X;", "// crate::a::b\nuse b::Y;\n"), [""; 0]);
    assert_eq!(both("use super::{Own, c};", "use super::Own;"), [""; 0]);
    assert_eq!(
        both("use super::c;", "#[cfg(test)]\nmod tests {\n use crate::a::b::Y;\n}"),
        [""; 0]
    );
    let over_others =
        [root, a, ("a::b", "use crate::d::D;"), ("a::c", ""), ("d", "use crate::a::Own;")];
    assert_eq!(found(&over_others), ["a names a::b", "a::b names d", "d names a"]);
    let between = [("a", "use crate::b;"), ("b", "use crate::{a, c};"), ("c", "use crate::d;")];
    let more = [("d", "use crate::e;"), ("e", "use crate::d;")];
    let two = ["a names b", "b names a", "d names e", "e names d"];
    assert_eq!(found(&[&between[..], &more].concat()), two, "and what is between them is not told");
}
