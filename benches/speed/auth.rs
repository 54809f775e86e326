//! What it costs to know a caller: by an API key, and by a token that was verified before.
//!
//! In this process, through the code that stands in front of every request, without a network.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use http::Request;
use http::header::AUTHORIZATION;
use http::request::Parts;

use longrun::auth::jwt::Tokens;
use longrun::auth::{Authenticator, ByKey, Way};
use longrun::catalogue::Catalogue;
use longrun::config::tokens::{KeySource, TokenConfig};
use longrun::engine::{Clock, SystemClock};
use longrun::service::Action;
use longrun::service::keys::{KeyText, Keys, ServerSecret};
use longrun::store::Store;
use longrun::store::sqlite::{SqliteOptions, SqliteStore};

use crate::figures::{figure, median, verdict};
use crate::issuer::{AUDIENCE, ISSUER, Served, SigningKey, claims};
use crate::processes::directory;

const ROUNDS: usize = 9;
const CALLS: u32 = 20_000;

pub(crate) async fn run() -> anyhow::Result<()> {
    println!("\nKnowing a caller, medians of {ROUNDS} rounds of {CALLS} calls");
    let directory = directory()?;
    let path = directory.path().join("longrun.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, &SqliteOptions::default())?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    let mut catalogue = Catalogue::new(Arc::clone(&store));
    let secret = ServerSecret::of_store(&mut catalogue).await?;
    let keys = Keys::open(Arc::clone(&store), &mut catalogue, secret).await?;
    let key = KeyText::generate().map_err(anyhow::Error::msg)?;
    keys.bootstrap(&key, clock.now()).await?;

    let signing = SigningKey::new("first");
    let Served::Keys(set) = Served::of(&[&signing]) else { anyhow::bail!("there is no set") };
    let path = directory.path().join("keys.json");
    fs::write(&path, set.to_string())?;
    let config = TokenConfig {
        keys: Some(KeySource::File(path)),
        issuer: Some(ISSUER.to_owned()),
        audience: Some(AUDIENCE.to_owned()),
        ..TokenConfig::default()
    };
    let opened = Tokens::open(&config, Arc::clone(&clock)).await?;
    let (tokens, _reader) = opened.context("tokens are not taken")?;
    let token = signing.sign(&claims("acme", &["submit"]));

    // As a server has them: keys are asked first.
    let ways: Vec<Box<dyn Way>> = vec![Box::new(ByKey::new(keys, clock)), Box::new(tokens)];
    let known = Authenticator::by(ways);
    let key = measure(&known, &request(&key.text())?).await?;
    let goal = verdict(key < 3_000.0, "under 3,000 ns");
    figure("an API key, per call", format!("{key:.0} ns"), &goal);
    let token = measure(&known, &request(&token)?).await?;
    let goal = verdict(token < 10_000.0, "under 10,000 ns");
    figure("a token that was verified before, per call", format!("{token:.0} ns"), &goal);
    store.close().await;
    Ok(())
}

fn request(credential: &str) -> anyhow::Result<Parts> {
    let value = format!("Bearer {credential}");
    Ok(Request::builder().header(AUTHORIZATION, value).body(())?.into_parts().0)
}

/// Nanoseconds until it is known who makes the request, and that the caller may submit.
async fn measure(known: &Authenticator, request: &Parts) -> anyhow::Result<f64> {
    // A token is verified here, and remembered.
    known.identify(request).await.caller(Some(Action::Submit), "bench")?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..CALLS {
            let identity = known.identify(black_box(request)).await;
            black_box(identity.caller(Some(Action::Submit), "bench")?);
        }
        rounds.push(begin.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    Ok(median(&rounds, |round| *round))
}
