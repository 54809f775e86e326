//! Which reports are known again.

use std::slice::from_ref;

use super::*;

#[test]
fn a_report_is_known_again_until_another_ends_an_attempt() {
    let refused = |operation: &Operation, command: &Command| {
        decide(operation, command, None, after(9)).expect_err("a refusal").to_string()
    };
    let again = |operation: &Operation| {
        decide(operation, &fail(by(1, 1), false), None, after(9)) == Ok(Decision::NoChange)
    };
    let failed = sequence(&[acquire(1), fail(by(1, 1), false)]);
    let running = changed(&failed, &acquire(2), after(3));
    let lost = changed(&running, &lose_lease(2), after(4));
    assert!(again(&failed) && again(&running) && again(&lost));
    let running_again = changed(&running, &release(by(2, 2)), after(4));
    assert!(!again(&running_again));
    assert_eq!(
        refused(&running_again, &fail(by(1, 1), false)),
        "attempt 1 is not current: attempt 2 was the last, and is over"
    );
    assert_eq!(refused(&running, &complete(by(1, 1))), "attempt 1 is not current: attempt 2 is");
    assert_eq!(refused(&running, &complete(by(1, 2))), "attempt 2 is held by another session");
}

#[test]
fn what_a_report_says_is_in_its_digest() {
    let text = |text: &'static str| Payload::new(PayloadForm::Text, "", text.into());
    let of = ReportDigest::of_complete;
    let (one, two) = (app_error("One"), app_error("Two"));
    let nested = app_error("Two").caused_by(Some(one.clone()));
    let digests = [
        of(None, &[], &[]),
        of(Some(&text("")), &[], &[]),
        of(Some(&text("a")), &[], &[]),
        of(Some(&Payload::new(PayloadForm::Text, "text/csv", "a".into())), &[], &[]),
        of(Some(&text("a")), from_ref(&one), &[]),
        of(Some(&text("a")), &[], from_ref(&one)),
        of(Some(&text("a")), &[], &[one.clone(), two.clone()]),
        of(Some(&text("a")), from_ref(&one), from_ref(&two)),
        of(Some(&text("a")), &[], from_ref(&nested)),
        ReportDigest::of_fail(&one, false, None),
        ReportDigest::of_fail(&one, true, None),
        ReportDigest::of_fail(&one, false, Some(Duration::ZERO)),
        ReportDigest::of_fail(&two, false, None),
        ReportDigest::of_fail(&nested, false, None),
        ReportDigest::of_release(),
    ];
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{at}");
    }
}
