//! What the documents refer to exists: pages, their headings, files. The book has every page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::page::{anchors, links};

/// Folders of others.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", "LICENSES"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file by its path, without the code in it.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut documents = BTreeMap::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = prose(&std::fs::read_to_string(&path).unwrap());
                documents.insert(path, text);
            }
        }
    }
    documents
}

/// The text without blocks of code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
}

/// The path with `..` taken back, as a link means it.
fn joined(folder: &Path, link: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in link.split('/') {
        match part {
            ".." => drop(path.pop()),
            "." | "" => {}
            part => path.push(part),
        }
    }
    path
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let documents = documents();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in &documents {
        let name = path.strip_prefix(root()).unwrap().display();
        for link in links(text).filter(|link| !link.starts_with("mailto:")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match target {
                "" => path.clone(),
                target => joined(path.parent().unwrap(), target),
            };
            count += 1;
            if !target.exists() {
                wrong.push(format!("{name}: {link} leads nowhere"));
            } else if !anchor.is_empty() {
                let text = documents.get(&target).map(String::as_str).unwrap_or_default();
                if !anchors(text).iter().any(|it| it == anchor) {
                    wrong.push(format!("{name}: {link} leads to no heading"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 300, "{count} links only");
}

#[test]
fn every_file_that_is_named_exists() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        // What changed names what was there at its time.
        if name == "CHANGELOG.md" {
            continue;
        }
        for named in text.split('`').skip(1).step_by(2) {
            let is_path = ["docs/", "examples/", "proto/longrun/", "tests/", "src/"]
                .iter()
                .any(|folder| named.starts_with(folder))
                && named.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path && !joined(root(), named).exists() {
                wrong.push(format!("{name}: `{named}` does not exist"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_book_has_every_page_once() {
    let folder = root().join("docs");
    let summary = std::fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).map(|link| joined(&folder, link)).collect();
    let distinct: BTreeSet<PathBuf> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len(), "docs/SUMMARY.md has a page twice");
    let pages = documents().into_keys().filter(|path| path.starts_with(&folder));
    let pages: BTreeSet<PathBuf> = pages.filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(distinct, pages, "docs/SUMMARY.md lists other pages than docs/ has");
}
