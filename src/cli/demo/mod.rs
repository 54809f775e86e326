//! `longrun demo`: shows the whole service at work, and checks it.
//!
//! A real server on a free port, a real command as its handler, real clients over gRPC and HTTP. Any deviation ends
//! the demo with an error; the demo leaves nothing behind.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use self::stage::Stage;
use self::transcript::Transcript;
use super::output::Output;
use super::{Exit, host, signals};

mod exchange;
mod over_grpc;
mod over_http;
mod stage;
mod transcript;

const EXAMPLES: &str = "\
Examples:
  longrun demo
  longrun demo *.md

The demo listens on a free loopback port, keeps its store in a temporary directory, and removes
everything at its end, even if it is interrupted. It checks what it shows: exit code 1 if anything
is not as promised.";

/// Arguments of `demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Text files whose words to count; by default longrun's own README
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints the first lines, before anything that takes time.
pub(super) fn announce() -> anyhow::Result<()> {
    let out = Output::new(false);
    let hello = "longrun demo: one server, one shell script, and work that outlives its requests";
    out.line(&out.paint.bold(hello))
}

/// Sets up, runs the parts, and cleans up in any case.
pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    // The transcript is for people, so it is the same with --json.
    let out = Output::new(false);
    let (stage, server, worker) = Stage::set_up(&args.files).await?;
    let stop = CancellationToken::new();
    let mut hosting = std::pin::pin!(host::host(server, vec![worker], stop.clone()));
    let played = tokio::select! {
        stopped = &mut hosting => stopped.and_then(|_| anyhow::bail!("the server ended by itself")),
        played = signals::interruptible(play(&stage, &out)) => played,
    };
    stop.cancel();
    if played.is_err() || matches!(played, Ok(Err(_))) {
        // The failure has been noticed; how the server stops after it says nothing more.
        let _ignored = hosting.await;
    } else {
        hosting.await?;
    }
    stage.tear_down()?;
    match played? {
        Ok(finished) => finished.map(|()| Exit::Ok),
        Err(exit) => {
            out.note("interrupted; nothing is left behind");
            Ok(exit)
        }
    }
}

async fn play(stage: &Stage, out: &Output) -> anyhow::Result<()> {
    let transcript = Transcript::new(out);
    stage.introduce(&transcript)?;
    let first = over_grpc::submit_and_watch(stage, &transcript).await?;
    over_http::submit_and_poll(stage, &transcript, &first).await?;
    over_grpc::cancel(stage, &transcript).await?;
    over_grpc::look_back(stage, &transcript, &first).await?;
    transcript.heading("Everything was as it should be")?;
    transcript.say("`longrun --help` says what else there is.")
}
