//! The bytes that stores keep: exact, compact, and the same for ever.

use longrun::operation::{
    Attempt, Life, Outcome, PayloadForm, PayloadInfo, Revision, State, Timestamp, WorkerId,
    state::Report,
};
use longrun::store::StoreError;
use longrun::store::codec::{self, Columns};
use proptest::prelude::*;

mod generate;

fn finished() -> Life {
    let at = Timestamp::from_micros(generate::EPOCH);
    Life {
        state: State::Done {
            outcome: Outcome::Succeeded {
                result: Some(PayloadInfo {
                    content_type: "application/json".to_owned(),
                    form: PayloadForm::Json,
                    type_url: String::new(),
                    size_bytes: 300,
                    http: None,
                    object: None,
                }),
                warnings: Vec::new(),
            },
            at,
            purge_at: at.after(std::time::Duration::from_secs(7 * 24 * 3600)),
        },
        revision: Revision(3),
        attempt: Attempt(1),
        attempts_used: 1,
        worker: Some(WorkerId::parse("worker-1").unwrap()),
        closed_by: Some(Report::Complete),
        updated_at: at,
        started_at: Some(Timestamp::from_micros(generate::EPOCH - 250_000)),
        progress: None,
        last_error: None,
        cancel: None,
    }
}

/// If this fails, files written before can no longer be read: change the code, not the bytes.
#[test]
fn the_bytes_of_a_life_are_these() {
    let hex: String = codec::encode_life(&finished()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, GOLDEN);
    assert_eq!(codec::decode_life(id(), &codec::encode_life(&finished())).unwrap(), finished());
}

const GOLDEN: &str = "0804100318808081b184e9910320013208776f726b65722d313801409fc21e880180809d8e9a23\
                      920105080210ac02";

fn id() -> longrun::operation::OperationId {
    generate::id(Timestamp::from_micros(generate::EPOCH), 1)
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_operation() {
    let error = codec::decode_life(id(), b"\x08\x63").unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains(&id().to_string())));
    codec::decode_life(id(), b"\xff\xff").unwrap_err();
    // A lease without its session.
    codec::decode_life(id(), b"\x08\x02").unwrap_err();
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
