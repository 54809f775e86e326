//! Which repeated reports are recognized.

use std::slice::from_ref;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::operation::{HttpEnvelope, HttpHeader, ObjectId, StoredObject};

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
    let over = |attempt: u32, why: &str| format!("attempt {attempt} is not current: {why}");
    assert_eq!(refused(&lost, &complete(by(2, 2))), over(2, "it is over"), "no report ended it");
    let reported = over(2, "another report has ended it");
    assert_eq!(refused(&running_again, &complete(by(2, 2))), reported);
}

/// The loss of an attempt may be noticed when a later one runs already.
#[test]
fn an_attempt_that_is_lost_late_takes_no_later_one_along() {
    let failed = sequence(&[acquire(1), fail(by(1, 1), false)]);
    let running = changed(&failed, &acquire(2), after(3));
    assert_eq!(decide(&running, &lose_lease(1), None, after(9)), Ok(Decision::NoChange));
}

#[test]
fn what_a_report_says_is_in_its_digest() {
    let text = |text: &'static str| Payload::new(PayloadForm::Text, "", text.into());
    let of = ReportDigest::of_complete;
    let (one, two) = (app_error("One"), app_error("Two"));
    let nested = app_error("Two").caused_by(Some(one.clone()));
    let other_words = OperationError { message: "otherwise".to_owned(), ..one.clone() };
    let about = |key: &str, value: &str| {
        let metadata = [(key.to_owned(), value.to_owned())].into();
        ReportDigest::of_fail(&OperationError { metadata, ..one.clone() }, false, None)
    };
    let any = |url: &str| Payload::any("", url.to_owned(), Bytes::from_static(b"a"));
    let answered = |status, name: &str, value: &[u8]| {
        let headers = vec![HttpHeader { name: name.to_owned(), value: value.to_vec() }];
        text("a").within(HttpEnvelope { status, headers, ..HttpEnvelope::default() })
    };
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
        ReportDigest::of_fail(&other_words, false, None),
        // Adjacent texts must not be joined.
        about("ab", "c"),
        about("a", "bc"),
        about("a", "b"),
        of(Some(&any("a")), &[], &[]),
        of(Some(&any("b")), &[], &[]),
        of(Some(&answered(200, "a", b"b")), &[], &[]),
        of(Some(&answered(201, "a", b"b")), &[], &[]),
        of(Some(&answered(200, "a", b"c")), &[], &[]),
        of(Some(&answered(200, "c", b"b")), &[], &[]),
        ReportDigest::of_release(),
    ];
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{at}");
    }
}

/// A repeated report's result may be stored elsewhere.
#[test]
fn a_result_is_the_same_in_a_row_and_in_any_object() {
    let of = |payload: &Payload| ReportDigest::of_complete(Some(payload), &[], &[]);
    let object = |number, contents: &[u8]| {
        let id = ObjectId::from_uuid(Uuid::from_u128(number));
        let object = StoredObject { id, sha256: Sha256::digest(contents).into() };
        Payload::in_object("", object, contents.len() as u64)
    };
    let in_row = Payload::new(PayloadForm::Data, "", Bytes::from_static(b"a"));
    assert_eq!(of(&object(1, b"a")), of(&in_row));
    assert_eq!(of(&object(2, b"a")), of(&in_row));
    assert_ne!(of(&object(1, b"b")), of(&in_row));
}
