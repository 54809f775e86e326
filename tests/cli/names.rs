//! How operations are named and chosen, and what answers look like.

use serde_json::Value;

use crate::support::{Server, stderr};

#[test]
fn an_operation_has_its_name_its_id_in_any_case_its_beginning_and_its_url() {
    let server = Server::start(&[]);
    let name = server.submit(&["unserved"]);
    let id = name.strip_prefix("operations/").unwrap();
    let url = format!("{}/v1/{name}/result", server.url);
    let upper = id.to_uppercase();
    for given in [&name, id, &upper, &id[..30], &url] {
        assert_eq!(server.json(&["get", given])["name"], name.as_str(), "{given}");
    }
    let unknown = server.command(&["get", "ffffffff"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("begins with ffffffff"), "{}", stderr(&unknown));
    let other = server.submit(&["unserved"]);
    let both = server.expect(0, &["get", &name, &other]);
    assert!(both.contains(&name) && both.contains(&other), "{both}");
    // Ids begin with their time: those of one minute or so share their first eight digits.
    let beginning = |name: &str| name["operations/".len()..][..8].to_owned();
    let (mut before, mut last) = (name, other);
    while beginning(&before) != beginning(&last) {
        (before, last) = (last, server.submit(&["unserved"]));
    }
    let ambiguous = server.command(&["get", &beginning(&last)]).output().unwrap();
    assert_eq!(ambiguous.status.code(), Some(1));
    assert!(stderr(&ambiguous).contains("several ids begin"), "{}", stderr(&ambiguous));
}

#[test]
fn lists_are_selected_by_flags_and_come_in_four_forms() {
    let server = Server::start(&["fail=exit 1"]);
    let queued = server.submit(&["unserved", "--label", "team=maps"]);
    server.expect(3, &["submit", "fail", "--wait"]);
    let by_label = server.expect(0, &["list", "-l", "team=maps", "-o", "name"]);
    assert_eq!(by_label, format!("{queued}\n"));
    let failed =
        server.json(&["list", "--state", "failed", "--since", "1h", "--kind", "fail,none"]);
    assert_eq!(failed["operations"].as_array().unwrap().len(), 1);
    let yaml = server.expect(0, &["list", "--state", "queued", "-o", "yaml"]);
    assert!(yaml.starts_with(&format!("operations:\n- name: {queued}\n")), "{yaml}");
    let wide = server.expect(0, &["list", "--wide"]);
    assert!(wide.contains("LABELS") && wide.contains("team=maps"), "{wide}");
}

#[test]
fn many_are_changed_once_their_number_is_agreed_to() {
    let server = Server::start(&[]);
    for _ in 0..3 {
        server.submit(&["unserved"]);
    }
    let asked = server.command(&["cancel", "--kind", "unserved"]).output().unwrap();
    assert_eq!(asked.status.code(), Some(2));
    assert!(stderr(&asked).contains("3 operations match; add --yes"), "{}", stderr(&asked));
    let cancelled = server.expect(0, &["cancel", "--kind", "unserved", "--yes"]);
    assert_eq!(cancelled.matches("CANCELLED").count(), 3, "{cancelled}");
    let retried = server.expect(0, &["retry", "--state", "cancelled", "--yes", "--quiet"]);
    assert_eq!(retried.lines().count(), 3);
    let deleted = server.expect(0, &["delete", "-f", "kind=unserved", "-y"]);
    assert_eq!(deleted.lines().count(), 3, "those that are not done stay: {deleted}");
    server.expect(2, &["delete", "x", "--filter", "done=true"]);
}

#[test]
fn errors_are_json_where_answers_are() {
    let server = Server::start(&[]);
    let said = |line: &[&str], code: i32| {
        let output = server.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line:?}");
        let document: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(document["error"]["exitCode"], code, "{document}");
        document["error"].clone()
    };
    let id = "operations/01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e";
    let missing = said(&["get", id, "--json"], 1);
    assert_eq!(missing["reason"], "OPERATION_NOT_FOUND", "{missing}");
    assert_eq!(missing["code"], "NOT_FOUND", "{missing}");
    assert!(said(&["get", "--json"], 2)["message"].as_str().unwrap().contains("<NAME>"));
}

#[test]
fn the_same_command_line_with_the_same_key_is_the_same_operation() {
    let server = Server::start(&[]);
    let line = ["unserved", "@@me", "-k", "once", "--start-in", "1h", "--retention", "1h30m"];
    let name = server.submit(&line);
    assert_eq!(server.submit(&line), name);
    assert_eq!(server.json(&["get", &name])["input"]["text"], "@me");
}

#[test]
fn json_contents_are_json() {
    let server = Server::start(&["echo=cat"]);
    let operation = server.json(&["submit", "echo", "{\"n\": [1, 2]}", "--wait"]);
    assert_eq!(operation["result"]["json"]["n"][0], 1, "{operation}");
    let operation = server.json(&["get", operation["name"].as_str().unwrap()]);
    assert_eq!(operation["input"]["json"]["n"][1], 2, "{operation}");
}
