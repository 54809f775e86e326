//! `docs/reference/` is made of the comments in `proto/`, which the server's own descriptors carry, and of the help of the
//! command line.
//!
//! After a change of either, `LONGRUN_REFERENCE=write cargo test --test reference` writes the pages anew; without the
//! variable the test fails where a page differs. What documents refer to is checked here as well.

use std::collections::BTreeSet;
use std::path::Path;

mod cli;
mod links;
mod page;

use page::{Page, Reference};

/// Each page with the proto that it shows.
const PAGES: [Page; 8] = [
    Page { name: "operations", file: "longrun/v1/operations.proto" },
    Page { name: "workers", file: "longrun/v1/workers.proto" },
    Page { name: "admin", file: "longrun/v1/admin.proto" },
    Page { name: "metadata", file: "longrun/v1/metadata.proto" },
    Page { name: "google-longrunning", file: "google/longrunning/operations.proto" },
    Page { name: "google-status", file: "google/rpc/status.proto" },
    Page { name: "google-error-details", file: "google/rpc/error_details.proto" },
    Page { name: "google-httpbody", file: "google/api/httpbody.proto" },
];

#[test]
fn the_pages_are_what_the_protos_and_the_help_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let mut pages = Reference::new(&PAGES).pages();
    pages.push(cli::page());
    let names: BTreeSet<_> = pages.iter().map(|(name, _)| name.clone()).collect();
    let write = std::env::var_os("LONGRUN_REFERENCE").is_some_and(|it| it == "write");
    for (name, text) in &pages {
        if write {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let differs = found.lines().zip(text.lines()).position(|(is, ought)| is != ought);
        assert!(
            found == *text,
            "docs/reference/{name} differs from its source, at line {:?}: write it anew by \
             `LONGRUN_REFERENCE=write cargo test --test reference`",
            differs.map(|index| index + 1),
        );
    }
    let there = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let there: BTreeSet<_> = there.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(there, names, "docs/reference has pages of nothing");
}

#[test]
fn no_two_headings_of_a_page_have_one_anchor() {
    for (name, text) in Reference::new(&PAGES).pages() {
        let anchors = page::anchors(&text);
        let distinct: BTreeSet<_> = anchors.iter().collect();
        assert_eq!(distinct.len(), anchors.len(), "{name}");
    }
}
