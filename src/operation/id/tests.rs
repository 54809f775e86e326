//! Which texts are ids, names and keys.

use super::*;

#[test]
fn an_operation_has_one_name_only() {
    let canonical = "0191e2ab-7c1d-7000-8000-0123456789ab";
    assert_eq!(OperationId::parse(canonical).map(|id| id.to_string()).as_deref(), Ok(canonical));
    for other in [
        "0191E2AB-7C1D-7000-8000-0123456789AB",
        "0191e2ab7c1d700080000123456789ab",
        "{0191e2ab-7c1d-7000-8000-0123456789ab}",
        "urn:uuid:0191e2ab-7c1d-7000-8000-0123456789ab",
        "0191e2ab-7c1d-7000-8000-0123456789a",
        "0191e2ab-7c1d-7000-8000-0123456789abc",
        "0191e2ab07c1d-7000-8000-0123456789ab",
        "0191e2ab-7c1d-7000-8000-0123456789ag",
        "",
    ] {
        assert_eq!(OperationId::parse(other), Err(OperationId::RULE), "{other}");
    }
}

#[test]
fn a_session_is_found_by_its_text() {
    let session = SessionId::from_uuid(Uuid::from_u128(7));
    assert_eq!(SessionId::parse(&session.to_string()), Some(session));
    assert_eq!(SessionId::parse("no session"), None);
}

#[test]
fn a_session_says_what_it_is_for() {
    let made = Uuid::from_u128(0x0191_e2ab_7c1d_7123_8000_0123_4567_89ab);
    let of_stream = SessionId::from_uuid(made);
    let in_process = SessionId::in_process(made);
    assert!(in_process.is_in_process() && !of_stream.is_in_process());
    assert_eq!((of_stream.attempt_lease(), in_process.attempt_lease()), (None, None));
    for (millis, seconds) in [(0, 1), (1, 1), (30_000, 30), (30_001, 31), (604_800_000, 604_800)] {
        let session = SessionId::of_attempt(made, Duration::from_millis(millis));
        assert_eq!(session.attempt_lease(), Some(Duration::from_secs(seconds)));
        assert!(!session.is_in_process());
    }
    let longest = SessionId::of_attempt(made, Duration::MAX).attempt_lease();
    assert_eq!(longest, Some(Duration::from_secs(SessionId::MOST_SECONDS)));
}

#[test]
fn labels_keep_their_rules() {
    for key in ["a", "Team.lead/a_b-1", &"a".repeat(63)] {
        assert_eq!(valid_label_key(key), Ok(()), "{key}");
    }
    for key in ["", "1a", "a b", "é", &"a".repeat(64)] {
        assert!(valid_label_key(key).is_err(), "{key}");
    }
    for value in ["", "any text", &"é".repeat(255)] {
        assert_eq!(valid_label_value(value), Ok(()), "{value}");
    }
    for value in ["a\nb", "\u{7f}", &"é".repeat(256)] {
        assert!(valid_label_value(value).is_err(), "{value}");
    }
}
