//! The time that it takes to refuse a key reveals nothing about the keys that exist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{KeyText, Keys, NewKey, ServerSecret};
use crate::catalogue::Catalogue;
use crate::operation::Timestamp;
use crate::store::Store;
use crate::store::sqlite::{SqliteOptions, SqliteStore};

const CALLS: usize = 2_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the time that it takes is what is tested")]
async fn an_unknown_key_is_refused_as_fast_as_a_wrong_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let mut catalogue = Catalogue::new(Arc::clone(&store));
    let secret = ServerSecret::of_store(&mut catalogue).await.unwrap();
    let keys = Keys::open(Arc::clone(&store), &mut catalogue, secret).await.unwrap();
    let known: Vec<KeyText> = (0..100).map(|_| KeyText::generate().unwrap()).collect();
    keys.set_file(known.iter().map(|it| (it.id().to_owned(), it.digest(), NewKey::default())));
    let now = Timestamp::default();
    assert!(keys.identify(&known[0].text(), now).is_ok());

    let refuse = |text: &str| {
        let began = Instant::now();
        let refused = keys.identify(text, now);
        let took = began.elapsed();
        (took, refused.expect_err("no such key").to_string())
    };
    let (mut unknown, mut wrong) = (Vec::new(), Vec::new());
    // In turns, so that other load on this machine affects both alike.
    for call in 0..CALLS {
        let (took, said) = refuse(&KeyText::generate().unwrap().text());
        let (took_wrong, said_wrong) = refuse(&known[call % known.len()].with_other_end().text());
        assert_eq!(said, said_wrong);
        unknown.push(took);
        wrong.push(took_wrong);
    }
    let (unknown, wrong) = (median(unknown), median(wrong));
    let ratio = unknown.as_secs_f64() / wrong.as_secs_f64();
    assert!((0.7..1.4).contains(&ratio), "{unknown:?} for an unknown key, {wrong:?} for a secret");
    store.close().await;
}
