//! How fast longrun is, as ratios of one run: `cargo bench`, or `cargo bench -- lives idle` for some of it.
//!
//! Each figure stands beside what a bare server does with the same bytes at the same time, in rounds by
//! turns, because machines differ and each drifts within minutes. Servers and loads are processes of
//! their own. What the figures mean, and what was found: `docs/performance.md`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

mod auth;
mod baseline;
mod fanout;
mod figures;
mod fill;
mod growth;
mod idle;
#[path = "../../tests/secure/issuer.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod issuer;
mod lives;
mod overhead;
#[path = "../../tests/postgres_support/mod.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod postgres_support;
mod pressure;
mod processes;
mod replicas;
mod submit;
mod tenants;

const PARTS: [&str; 10] = [
    "submit", "lives", "overhead", "fanout", "idle", "growth", "replicas", "pressure", "auth",
    "tenants",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["bare-serve", directory] => return baseline::serve(Path::new(directory)).await,
        ["bare-load", url, rest @ ..] => return bare_load(url, rest).await,
        _ => {}
    }
    // `cargo bench` says so; `cargo test --all-targets` runs this as well, and wants no figures.
    if !std::env::args().any(|word| word == "--bench") {
        return Ok(());
    }
    if let Some(unknown) = words.iter().find(|word| !PARTS.contains(word)) {
        bail!("there is no part {unknown:?}; the parts are {}", PARTS.join(", "));
    }
    let wanted = |part: &str| words.is_empty() || words.contains(&part);
    if wanted("submit") {
        submit::run().await?;
    }
    if wanted("lives") {
        lives::run()?;
    }
    if wanted("overhead") {
        overhead::run().await?;
    }
    if wanted("fanout") {
        fanout::run().await?;
    }
    if wanted("idle") {
        idle::run().await?;
    }
    if wanted("growth") {
        growth::run().await?;
    }
    if wanted("replicas") {
        replicas::run().await?;
    }
    if wanted("pressure") {
        pressure::run().await?;
    }
    if wanted("auth") {
        auth::run().await?;
    }
    if wanted("tenants") {
        tenants::run().await?;
    }
    Ok(())
}

/// This program as the bare clients: how many, over how many connections, bytes there and back, how long.
async fn bare_load(url: &str, words: &[&str]) -> anyhow::Result<()> {
    let numbers: Vec<usize> =
        words.iter().map(|word| word.parse()).collect::<Result<_, _>>().context("numbers")?;
    ensure!(numbers.len() == 5, "five numbers are needed");
    let (clients, connections, bytes, answer) = (numbers[0], numbers[1], numbers[2], numbers[3]);
    let calls = match bytes {
        0 => baseline::Calls::Lives,
        bytes => baseline::Calls::Echo { bytes, answer: answer as u32 },
    };
    let time = Duration::from_millis(numbers[4] as u64);
    baseline::load(url, calls, clients, connections, time).await
}
