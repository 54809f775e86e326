//! What it costs to be looked at: whole lives while metrics are scraped each second, and while a page is open.

use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use crate::figures::{figure, median, medians, round, verdict};
use crate::processes::{Round, Server, directory, longrun_round};

const TIME: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;
const CLIENTS: usize = 64;
const SCRAPE: Duration = Duration::from_secs(1);

/// Who looks.
#[derive(Clone, Copy)]
enum Onlooker {
    Nobody,
    /// A Prometheus.
    Scraper,
    /// A browser with the list of operations open.
    Page,
}

pub(crate) async fn run() -> anyhow::Result<()> {
    crate::figures::headings("Whole lives while somebody looks, 64 in flight", "lives/s");
    let directory = directory()?;
    let store = format!("sqlite:{}", directory.path().join("longrun.db").display());
    let server = Server::with(&store, &["--pages", "on"])?;
    let onlookers = [Onlooker::Nobody, Onlooker::Scraper, Onlooker::Page];
    let mut rounds: [Vec<Round>; 3] = Default::default();
    // One that is not counted: the store is new.
    look(&server, Onlooker::Nobody).await?;
    for _ in 0..ROUNDS {
        for (onlooker, rounds) in onlookers.into_iter().zip(&mut rounds) {
            rounds.push(look(&server, onlooker).await?);
        }
    }
    let [nobody, scraped, page] = rounds.each_ref().map(|rounds| medians(rounds));
    round("nobody", &nobody, None, "");
    round("metrics scraped each second", &scraped, Some(&nobody), "");
    round("a page open", &page, Some(&nobody), "");
    // Of neighbouring rounds, because machines drift: the median of what each lost beside the one before it.
    let lost = |of: &[Round]| {
        let pairs: Vec<(f64, f64)> =
            rounds[0].iter().zip(of).map(|(without, with)| (without.rate, with.rate)).collect();
        100.0 * median(&pairs, |(without, with)| 1.0 - with / without)
    };
    let (scraped, page) = (lost(&rounds[1]), lost(&rounds[2]));
    let goal = verdict(scraped <= 2.0, "at most 2 %");
    figure("lives lost to a scrape each second", format!("{scraped:.1} %"), &goal);
    let goal = verdict(page < 5.0, "under 5 %");
    figure("lives lost to a page that is open", format!("{page:.1} %"), &goal);
    Ok(())
}

/// A round of load beside an onlooker, who must have seen something.
async fn look(server: &Server, onlooker: Onlooker) -> anyhow::Result<Round> {
    let mut looking = JoinSet::new();
    match onlooker {
        Onlooker::Nobody => {}
        Onlooker::Scraper => drop(looking.spawn(scrape(server.url.clone()))),
        Onlooker::Page => drop(looking.spawn(follow(server.url.clone()))),
    }
    let words = ["--watch", "feed"];
    let round =
        tokio::task::block_in_place(|| longrun_round(server, "end", CLIENTS, TIME, &words))?;
    // They go on until they are stopped.
    if let Some(ended) = looking.try_join_next() {
        let error = ended?.err().map(|error| error.to_string()).unwrap_or_default();
        anyhow::bail!("an onlooker has ended: {error}");
    }
    looking.shutdown().await;
    Ok(round)
}

async fn scrape(url: String) -> anyhow::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    loop {
        let began = Instant::now();
        let request = Request::get(format!("{url}/metrics")).body(Body::empty())?;
        let answer = client.request(request).await?;
        ensure!(answer.status().is_success(), "/metrics: {}", answer.status());
        let text = answer.into_body().collect().await?.to_bytes();
        ensure!(!text.is_empty(), "there is nothing to scrape");
        tokio::time::sleep(SCRAPE.saturating_sub(began.elapsed())).await;
    }
}

async fn follow(url: String) -> anyhow::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let request = Request::get(format!("{url}/ui/operations/live")).body(Body::empty())?;
    let answer = client.request(request).await?;
    ensure!(answer.status().is_success(), "the page: {}", answer.status());
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    anyhow::bail!("the page's stream has ended")
}
