//! `longrun doctor`: checks a deployment from where it runs, and says what to change.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use super::connection::Connection;
use super::output::Output;
use super::remote::Remote;
use super::{Exit, text};
use crate::config::StoreUrl;

mod machine;
mod server;
mod store;

const EXAMPLES: &str = "\
Examples:
  longrun doctor
  longrun doctor --server https://jobs.example.com
  longrun doctor --check-store postgres://longrun@db.example.com/longrun
  longrun doctor --only ready                    for a container's health check
  longrun doctor --json | jq '.checks[] | select(.result != \"ok\")'

The checks:
  ready    the server responds and takes new work
  access   the credentials permit reading
  clock    the server's clock and this machine's agree
  watch    streams arrive: no proxy delays them, or closes them while they are silent
  tls      connections to other machines are encrypted
  system   how many files a process may open (run doctor on the server's machine as its user)
  store    with --check-store: a database's settings, clock and pooler; or the disk of a file

Exit codes: 0 no check failed (there may be warnings), 1 a check failed.";

/// The longest duration of the check of streams.
const PROBE: Duration = Duration::from_secs(25);

/// Arguments of `doctor`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Make only this check; repeatable
    #[arg(long, value_name = "CHECK", value_enum)]
    only: Vec<Check>,
    /// Check this store as well, as the server would use it: a file or a postgres:// URL
    #[arg(
        long = "check-store",
        value_name = "sqlite:PATH|postgres://…",
        env = "LONGRUN_STORE",
        hide_env_values = true
    )]
    store: Option<StoreUrl>,
}

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The server responds and takes new work.
    Ready,
    /// The credentials permit reading.
    Access,
    /// The server's clock and this machine's agree.
    Clock,
    /// Streams arrive.
    Watch,
    /// Connections to other machines are encrypted.
    Tls,
    /// The limit on open files.
    System,
    /// The store of --check-store.
    Store,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
    /// The check could not be made.
    Skipped,
}

/// The result of a check, and what to change.
#[derive(Clone, Debug)]
struct Finding {
    check: Check,
    verdict: Verdict,
    message: String,
    advice: Option<String>,
}

impl Finding {
    fn new(check: Check, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { check, verdict, message: message.into(), advice: None }
    }

    fn ok(check: Check, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, message)
    }

    fn skipped(check: Check, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, message)
    }

    fn warning(check: Check, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..Self::new(check, Verdict::Warning, message) }
    }

    fn failed(check: Check, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..Self::new(check, Verdict::Failed, message) }
    }
}

impl Check {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

pub(super) async fn run(args: Args, connection: &Connection, out: &Output) -> anyhow::Result<Exit> {
    let is_wanted = |check: &Check| args.only.is_empty() || args.only.contains(check);
    let remote = Remote::new(connection)?;
    let mut findings = Vec::new();
    let (mut is_reached, mut may_read) = (true, true);
    for check in Check::value_variants().iter().filter(|check| is_wanted(check)) {
        let mut found = match check {
            Check::Ready => vec![server::ready(&remote).await],
            Check::Tls => vec![server::encryption(connection, &remote, is_reached).await],
            Check::System => machine::files(),
            Check::Store => match &args.store {
                Some(store) => store::examine(store).await,
                None if args.only.is_empty() => Vec::new(),
                None => {
                    let message = "no store to check: name one by --check-store";
                    vec![Finding::skipped(Check::Store, message)]
                }
            },
            _ if !is_reached => {
                vec![Finding::skipped(*check, "the server does not respond")]
            }
            Check::Watch if !may_read => {
                vec![Finding::skipped(*check, "the credentials do not permit reading")]
            }
            Check::Access => vec![server::access(&remote).await],
            Check::Clock => vec![server::clock(&remote).await],
            Check::Watch => vec![server::stream(&remote, PROBE).await],
        };
        let has_failed = found.iter().any(|it| it.verdict == Verdict::Failed);
        is_reached &= !(*check == Check::Ready && has_failed);
        may_read &= !(*check == Check::Access && has_failed);
        if !out.is_json() {
            found.iter().try_for_each(|finding| out.line(&line(finding, out)))?;
        }
        findings.append(&mut found);
    }
    let is_well = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
    if out.is_json() {
        out.document(&json!({
            "server": connection.server,
            "ok": is_well,
            "checks": findings.iter().map(document).collect::<Vec<_>>(),
        }))?;
    }
    Ok(if is_well { Exit::Ok } else { Exit::Failure })
}

fn document(finding: &Finding) -> serde_json::Value {
    json!({
        "check": finding.check.name(),
        "result": finding.verdict.name(),
        "message": finding.message,
        "advice": finding.advice,
    })
}

/// `ok       clock   …`, and below it what to change.
fn line(finding: &Finding, out: &Output) -> String {
    let (name, verdict) = (finding.check.name(), format!("{:<8}", finding.verdict.name()));
    let verdict = match finding.verdict {
        Verdict::Ok | Verdict::Skipped => out.paint.dim(&verdict),
        Verdict::Warning => out.paint.bold(&verdict),
        Verdict::Failed => out.paint.red(&verdict),
    };
    let mut line = format!("{verdict} {name:<7} {}", text::clean(&finding.message));
    if let Some(advice) = &finding.advice {
        line.push_str(&format!("\n{:17}{advice}", ""));
    }
    line
}
