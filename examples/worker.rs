//! The smallest useful worker: counts the words of a text, slowly enough to be watched.
//!
//! ```sh
//! cargo run --example worker -- http://127.0.0.1:7420
//! ```

use std::time::Duration;

use longrun::client::Client;
use longrun::worker::{Context, Failure, Outcome, Progress, Worker};
use tokio_util::sync::CancellationToken;

async fn count_words(context: Context) -> Result<Outcome, Failure> {
    // Input that is not text will not be text the next time either.
    let text = context.input().text().map_err(|error| Failure::from(error).into_permanent())?;
    let lines: Vec<&str> = text.lines().collect();
    let mut words = 0;
    for (done, line) in lines.iter().enumerate() {
        context.progress(Progress::units(done as i64, lines.len() as i64));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            why = context.cancelled() => return Err(Failure::retryable("CANCELLED", why.reason)),
        }
        words += line.split_whitespace().count();
    }
    context.log(format!("{} lines read", lines.len())).await;
    Ok(Outcome::json(&serde_json::json!({ "words": words }))?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The library logs its connection, and the start and end of each attempt.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .init();
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7420".to_owned());
    let stop = CancellationToken::new();
    let worker = Worker::new(Client::connect_lazy(&url)?).handler("count-words", count_words);
    let running = worker.concurrency(4).run(stop.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        _interrupt = tokio::signal::ctrl_c() => stop.cancel(),
    }
    Ok(running.await?)
}
