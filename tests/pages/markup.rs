//! What every page must be: well-formed, of this server alone, and without script or style within it.

use crate::support::Answer;

/// Elements without an end.
const VOID: [&str; 6] = ["meta", "link", "input", "img", "br", "hr"];

/// Panics where the page is not well-formed, names another server, or has something to execute within it.
#[track_caller]
pub fn check(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{html}");
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some((before, behind)) = rest.split_once('<') {
        assert!(!before.contains('>'), "a loose > in {before:?}");
        check_references(before);
        let (tag, after) = tag(behind);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.trim()), "</{name}> ends something else: {open:?}");
            continue;
        }
        let name = tag.split(|c: char| c.is_whitespace()).next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "<{tag}>");
        check_attributes(name, &tag[name.len()..]);
        if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not ended");
}

/// The tag up to its `>`, which may stand in quotes as well, and what comes behind.
fn tag(text: &str) -> (&str, &str) {
    let mut is_quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    panic!("a tag without an end: {text:?}");
}

fn check_attributes(element: &str, text: &str) {
    let (mut rest, mut has_source) = (text.trim(), false);
    // Only a link that tells nothing of this page may leave the server.
    let may_leave = element == "a" && text.contains("rel=\"noreferrer\"");
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let name = &rest[..end];
        let mut value = "";
        rest = rest[end..].trim_start();
        if let Some(behind) = rest.strip_prefix('=') {
            let quoted =
                behind.strip_prefix('"').unwrap_or_else(|| panic!("{name} in <{element}{text}>"));
            let (inner, after) = quoted.split_once('"').expect("an end of a value");
            (value, rest) = (inner, after.trim_start());
            check_references(value);
        }
        assert!(!name.starts_with("on") && name != "style", "{name} in <{element}>");
        if ["href", "src", "action", "data-live"].contains(&name) {
            has_source |= name == "src";
            let is_foreign =
                value.starts_with("//") || value.split('?').next().unwrap().contains(':');
            assert!(!is_foreign || may_leave && name == "href", "{element} leads to {value}");
        }
    }
    assert!(element != "script" || has_source, "a script within the page");
    assert!(element != "style" && element != "iframe" && element != "base", "<{element}>");
}

/// Every ampersand begins a reference.
fn check_references(text: &str) {
    for behind in text.split('&').skip(1) {
        let name = behind.split(';').next().unwrap_or_default();
        let is_reference = behind.contains(';') && name.len() < 10;
        assert!(is_reference, "a loose & in {text:?}");
    }
}

/// What is sent along with every page.
#[track_caller]
pub fn check_headers(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    for part in
        ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "same-origin");
}
