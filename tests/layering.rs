//! The direction of dependencies, held as data: no module names one that stands above it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each module with the modules of this crate that it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("operation", &[]),
    ("files", &[]),
    ("store", &["files", "operation"]),
    ("objects", &["files", "operation"]),
    ("engine", &["store", "operation"]),
    ("service", &["engine", "objects", "store", "operation"]),
    ("proto", &[]),
    ("wire", &["proto", "service", "store", "operation"]),
    ("grpc", &["wire", "proto", "service", "engine", "operation"]),
    ("http", &["relay", "config", "dialect", "wire", "proto", "service", "store", "operation"]),
    ("client", &["proto"]),
    ("worker", &["client", "proto"]),
    ("dialect", &["operation"]),
    ("config", &["dialect", "files", "operation"]),
    ("relay", &["config", "worker", "client", "operation"]),
    (
        "server",
        &[
            "config",
            "relay",
            "grpc",
            "http",
            "service",
            "engine",
            "objects",
            "store",
            "operation",
            "client",
            "telemetry",
        ],
    ),
    ("transfer", &["engine", "objects", "store", "operation"]),
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
            "proto",
            "transfer",
            "objects",
            "engine",
            "files",
            "operation",
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
