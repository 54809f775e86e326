use super::*;

fn time_test(filter: &str) -> (Comparison, i64) {
    match Filter::parse(filter).unwrap().root {
        Some(Expr::Test(Test::Time { compare: Some((compare, at)), .. })) => (compare, at.micros()),
        other => panic!("{filter} is {other:?}"),
    }
}

fn pattern(filter: &str) -> Pattern {
    match Filter::parse(filter).unwrap().root {
        Some(Expr::Test(
            Test::Kind { pattern, .. } | Test::Label { value: LabelTest::Fits { pattern, .. }, .. },
        )) => pattern,
        other => panic!("{filter} is {other:?}"),
    }
}

fn refused(filter: &str) -> FilterError {
    Filter::parse(filter).expect_err(filter)
}

#[test]
fn blank_is_everything() {
    assert_eq!(Filter::parse(" \n\t"), Ok(Filter::default()));
}

#[test]
fn or_binds_tighter_than_and_and_juxtaposition_is_and() {
    let same = [
        "done=true OR priority>5 AND kind=a",
        "(done=true OR priority>5) kind=a",
        "((done = true)OR(priority > 5)) AND (kind = \"a\")",
    ];
    let trees = same.map(|text| Filter::parse(text).unwrap());
    assert!(matches!(trees[0].root(), Some(Expr::All(parts)) if parts.len() == 2));
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
    assert_eq!(Filter::parse("NOT done=true"), Filter::parse("-(done=true)"));
    assert_eq!(Filter::parse("NOT -NOT done=true"), Filter::parse("-done=true"));
}

#[test]
fn states_go_by_either_name() {
    assert_eq!(Filter::parse("state=STATE_FAILED"), Filter::parse("state = 'FAILED'"));
    assert_eq!(refused("state<FAILED").rule, "state takes = or !=");
    assert!(refused("state=failed").to_string().starts_with("at character 7: a state is one of"));
}

#[test]
fn times_are_rfc_3339_with_or_without_quotes() {
    let micros = 1_767_225_600_000_000;
    assert_eq!(time_test("create_time>2026-01-01T00:00:00Z"), (Comparison::Greater, micros));
    let quoted = "end_time <= \"2026-01-01T02:00:00.000001+02:00\"";
    assert_eq!(time_test(quoted), (Comparison::LessOrEqual, micros + 1));
    assert!(Filter::parse("end_time:*").is_ok());
    for bad in ["end_time:2026-01-01T00:00:00Z", "end_time=yesterday", "end_time=2026-01-01"] {
        refused(bad);
    }
}

#[test]
fn stars_at_the_ends_stand_for_any_text() {
    assert_eq!(pattern("kind=report.*"), Pattern::Prefix("report.".into()));
    assert_eq!(pattern("kind:\"*build\""), Pattern::Suffix("build".into()));
    assert_eq!(pattern("labels.x=*mid*"), Pattern::Infix("mid".into()));
    assert_eq!(pattern(r#"labels.x="a\*""#), Pattern::Exact("a*".into()));
    assert_eq!(pattern(r#"labels.x="a\\*""#), Pattern::Prefix("a\\".into()));
    assert_eq!(pattern(r#"labels.x="say \"so\"""#), Pattern::Exact("say \"so\"".into()));
    assert_eq!(refused("kind=a*b").position, 5);
}

#[test]
fn labels_go_by_key_in_each_way_of_writing_it() {
    let key = "labels.a/b.c-d=x";
    assert_eq!(Filter::parse(key), Filter::parse("labels.\"a/b.c-d\" : x"));
    assert_eq!(Filter::parse("labels.team:*"), Filter::parse("labels:team"));
    assert_ne!(Filter::parse("labels.team:\"*\""), Filter::parse("labels:team"));
    for bad in ["labels.9=x", "labels.=x", "labels=x", "labels.a<x", "labels:*", "labels.a="] {
        refused(bad);
    }
}

#[test]
fn parents_go_by_name_or_id() {
    let id = "0191e2ab-7c1d-7000-8000-0123456789ab";
    let by_name = Filter::parse(&format!("parent = \"operations/{id}\""));
    assert_eq!(by_name, Filter::parse(&format!("parent:{id}")));
    assert_eq!(
        by_name.as_ref().ok(),
        Some(&Filter::children(OperationId::parse(id).unwrap(), &[]))
    );
    assert_ne!(by_name, Filter::parse(&format!("parent!={id}")));
    assert_eq!(Filter::parse("parent:* AND done=true"), Ok(Filter::ended_children()));
    for bad in ["parent=x", "parent=*", "parent:\"*\"", "parent", &format!("parent<{id}")] {
        refused(bad);
    }
}

#[test]
fn errors_name_the_place_and_the_rule() {
    let cases = [
        ("colour=red", 0, "there is no field"),
        ("done=yes", 5, "true or false"),
        ("done", 4, "an operator is expected"),
        ("priority=high", 9, "a whole number"),
        ("priority=\"1\"", 9, "a whole number"),
        ("priority:1", 8, "a number takes"),
        ("(done=true", 10, "a closing parenthesis"),
        ("done=true)", 9, "there is no open parenthesis"),
        ("done=true AND", 13, "a condition is expected"),
        ("done=true OR OR", 13, "a condition is expected"),
        ("OR done=true", 0, "a condition is expected"),
        ("kind=\"a", 5, "the closing quote"),
        ("kind=", 5, "a value is expected"),
        ("é é", 0, "there is no field"),
    ];
    for (filter, position, rule) in cases {
        let error = refused(filter);
        assert_eq!(error.position, position, "{filter}: {error}");
        assert!(error.rule.starts_with(rule), "{filter}: {error}");
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}done=true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(Filter::MAX_DEPTH)).is_ok());
    refused(&nested(Filter::MAX_DEPTH + 1));
    refused(&"(".repeat(Filter::MAX_CHARS));
    refused(&" ".repeat(Filter::MAX_CHARS + 1));
    refused(&"-".repeat(Filter::MAX_CHARS));
}

proptest::proptest! {
    #[test]
    fn what_is_quoted_is_read_back(text in "(.|[\"'\\\\*() \n]){0,60}") {
        proptest::prop_assert_eq!(pattern(&format!("labels.x={}", quoted(&text))), Pattern::Exact(text));
    }

    #[test]
    fn a_quoted_pattern_has_stars_at_its_ends_alone(text in "[^*]{1,60}", starts in proptest::bool::ANY, ends in proptest::bool::ANY) {
        let star = |is_there| if is_there { "*" } else { "" };
        let read = pattern(&format!("kind={}", quoted_pattern(&format!("{}{text}{}", star(starts), star(ends)))));
        let expected = match (starts, ends) {
            (false, false) => Pattern::Exact(text),
            (false, true) => Pattern::Prefix(text),
            (true, false) => Pattern::Suffix(text),
            (true, true) => Pattern::Infix(text),
        };
        proptest::prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(
        text in "(state|kind|labels\\.|done|create_time|[-()=!<>:*\"'\\\\., ]|AND |OR |NOT |.){0,40}"
    ) {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn no_time_makes_the_parser_fail_otherwise_than_by_an_error(
        time in "[-+]?[0-9]{1,20}-[0-9]{1,3}-[0-9]{1,3}[Tt ][0-9:.]{0,30}(Z|z|[+-][0-9:]{0,9})"
    ) {
        let _ = Filter::parse(&format!("end_time>\"{time}\""));
    }
}

#[test]
fn labels_are_tested_at_most_sixteen_times() {
    let tests = |count: usize| {
        ["labels.a = x", "labels:b", "labels.'c' != y"].into_iter().cycle().take(count)
    };
    let filter = |count| tests(count).collect::<Vec<_>>().join(" OR ");
    assert!(Filter::parse(&filter(16)).is_ok());
    let nested = format!("NOT (({}) AND labels.d:*)", filter(16));
    for too_many in [filter(17), nested] {
        assert_eq!(refused(&too_many).rule, "a filter tests labels at most 16 times");
    }
}
