//! The bytes that stores keep: exact, compact, and the same for ever.

use std::fmt::Write as _;

use longrun::operation::{EventType, Life, PayloadForm, StateName};
use longrun::store::StoreError;
use longrun::store::codec::{self, Columns};
use proptest::prelude::*;

mod generate;
#[path = "storage_format/samples.rs"]
mod samples;

use samples::id;

/// If this fails, the program no longer reads what it has written, or takes a repeated key or report for another:
/// change the code, not the bytes. New lines may be added to `golden.txt`.
#[test]
fn what_is_stored_is_these_bytes() {
    let mut now = String::new();
    let mut line = |what: &str, name: &str, bytes: &[u8]| {
        let _ = writeln!(now, "{what} {name} {}", hex(bytes));
    };
    for (name, life) in samples::lives() {
        line("life", name, &codec::encode_life(&life));
    }
    for (name, submission) in samples::submissions() {
        line("submission", name, &codec::encode_submission(&submission));
    }
    for (name, new) in samples::new_operations() {
        line("fingerprint", name, &new.fingerprint());
    }
    for (name, digest) in samples::reports() {
        line("report", name, digest.as_bytes());
    }
    for state in StateName::ALL {
        line("state", state.as_str(), &[state.number()]);
    }
    for event_type in EventType::ALL {
        line("event", &format!("{event_type:?}"), &[event_type.number()]);
    }
    for form in PayloadForm::ALL {
        line("form", &format!("{form:?}"), &[form.number()]);
    }
    let golden = include_str!("storage_format/golden.txt");
    assert!(now == golden, "the bytes differ from golden.txt; they are now:\n{now}");
}

#[test]
fn these_bytes_are_read_as_what_they_were() {
    for (name, life) in samples::lives() {
        let read = codec::decode_life(id(), &codec::encode_life(&life)).unwrap();
        assert_eq!(read, life, "{name}");
    }
    for (name, submission) in samples::submissions() {
        let bytes = codec::encode_submission(&submission);
        let read = codec::decode_submission(Columns::of(&submission), &bytes).unwrap();
        assert_eq!(read, submission, "{name}");
    }
}

/// Earlier versions kept the kind of the report that ended the attempt, and neither its session nor its content.
#[test]
fn a_life_of_an_earlier_version_has_no_report_to_be_repeated() {
    let bytes = "0804100318808081b184e9910320013208776f726b65722d313801409fc21e880180809d8e9a23\
                 920105080210ac02";
    let life = codec::decode_life(id(), &unhex(bytes)).unwrap();
    assert_eq!(life, Life { last_report: None, ..samples::succeeded() });
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_operation() {
    let error = codec::decode_life(id(), b"\x08\x63").unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains(&id().to_string())));
    codec::decode_life(id(), b"\xff\xff").unwrap_err();
    // A lease without its session.
    codec::decode_life(id(), b"\x08\x02").unwrap_err();
    // A report without its session, and a state and a form that are 1 to the lowest byte only.
    codec::decode_life(id(), b"\x08\x01\xaa\x01\x00").unwrap_err();
    codec::decode_life(id(), b"\x08\x81\x02").unwrap_err();
    codec::decode_life(id(), b"\x08\x04\x92\x01\x03\x08\x81\x02").unwrap_err();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

proptest! {
    #[test]
    fn a_life_comes_back_as_it_was(life in generate::life()) {
        prop_assert_eq!(codec::decode_life(id(), &codec::encode_life(&life)).unwrap(), life);
    }

    #[test]
    fn a_submission_comes_back_as_it_was(submission in generate::submission()) {
        let bytes = codec::encode_submission(&submission);
        let columns = Columns::of(&submission);
        prop_assert_eq!(codec::decode_submission(columns, &bytes).unwrap(), submission);
    }

    #[test]
    fn no_bytes_make_the_decoder_fail_otherwise_than_by_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..64)
    ) {
        let _ = codec::decode_life(id(), &bytes);
    }
}
