//! `longrun limits`: limits of tenants.

use clap::Subcommand;
use serde_json::json;

use super::output::{Output, Usage};
use super::remote::Remote;
use super::table::{Cell, Table};
use super::{Exit, text};
use crate::config::{size, whole};
use crate::operation::limits::LimitName;
use crate::proto::json;
use crate::proto::v1::{DeleteLimitRequest, Limit, SetLimitRequest};
use crate::time_text::parse_duration;

const EXAMPLES: &str = "\
Examples:
  longrun limits list --tenant acme
  longrun limits set outstanding 100000                          each tenant without one of its own
  longrun limits set outstanding 1000000 --tenant acme
  longrun limits set running 1 --tenant acme --kind video --label customer
  longrun limits set retention-seconds 7d
  longrun limits unset outstanding --tenant acme

A limit applies at once at the server that is called, and within a second at its replicas. The store
keeps it. It replaces the configuration file's limit for the same tenant, kind and label.
`unset` removes it, and the configuration file's limit applies again. For operators.
Limits: outstanding, running, submissions-per-second, watches, sessions, connections, payload-bytes,
result-bytes, stored-bytes, retention-seconds, weight, paused (docs/limits.md).";

/// Arguments of `limits`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List limits, including those of the configuration file
    List(ListArgs),
    /// Set a limit
    Set(SetArgs),
    /// Remove a limit that was set
    Unset(Which),
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    /// Only limits of this tenant, and limits of each tenant that has none of its own
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    tenant: String,
}

#[derive(clap::Args, Debug)]
struct SetArgs {
    #[command(flatten)]
    which: Which,
    /// The value: a number, a size such as 16MiB, or a duration such as 7d
    #[arg(value_name = "MOST")]
    most: String,
}

#[derive(clap::Args, Debug)]
struct Which {
    /// The limit's name, e.g. outstanding
    #[arg(value_name = "LIMIT")]
    what: String,
    /// Tenant; by default each tenant that has no such limit of its own
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    tenant: String,
    /// Kind, for outstanding, running, payload-bytes, result-bytes and paused; all kinds together by default
    #[arg(long, value_name = "KIND", default_value = "", hide_default_value = true)]
    kind: String,
    /// For running: count operations separately by the value of this label
    #[arg(long, value_name = "LABEL", default_value = "", hide_default_value = true)]
    label: String,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    match args.command {
        Command::List(args) => list(args, remote, out).await,
        Command::Set(args) => set(args, remote, out).await,
        Command::Unset(which) => unset(which, remote, out).await,
    }
}

async fn list(args: ListArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let limits = remote.client.list_limits(&args.tenant).await;
    let limits = limits.map_err(|error| remote.failed(&error, "list limits"))?;
    if out.is_json() {
        let limits = limits.iter().map(json::to_value).collect::<Result<Vec<_>, _>>()?;
        out.document(&json!({ "limits": limits }))?;
    } else if limits.is_empty() {
        out.note("no limits");
    } else {
        let headings = ["LIMIT", "TENANT", "KIND", "LABEL", "MOST", "CONFIGURED", "SET", "BY"];
        let rows = limits.iter().map(row).collect();
        out.line(&Table::new(headings, out.paint).block(rows))?;
    }
    Ok(Exit::Ok)
}

fn row(limit: &Limit) -> [Cell; 8] {
    let or_all = |text: &str| if text.is_empty() { "all".to_owned() } else { text::clean(text) };
    let age = text::time(limit.set_time.as_ref()).map(|time| text::age(time, text::now()));
    [
        text::clean(&limit.what).into(),
        or_all(&limit.tenant).into(),
        or_all(&limit.kind).into(),
        text::clean(&limit.label).into(),
        limit.most.to_string().into(),
        limit.configured_most.map(|most| most.to_string()).unwrap_or_default().into(),
        age.unwrap_or_default().into(),
        text::clean(&limit.set_by).into(),
    ]
}

async fn set(args: SetArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let SetArgs { most, which: Which { what, tenant, kind, label } } = args;
    let most = read(&what, &most)?;
    let set = remote.client.set_limit(SetLimitRequest { what, tenant, kind, label, most }).await;
    let limit = set.map_err(|error| remote.failed(&error, "set the limit"))?;
    match out.is_json() {
        true => out.document(&json::to_value(&limit)?)?,
        false => out.line(&format!("{} is {}", named(&limit), limit.most))?,
    }
    Ok(Exit::Ok)
}

async fn unset(which: Which, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let Which { what, tenant, kind, label } = which;
    let request = DeleteLimitRequest { what, tenant, kind, label };
    let mut of = Limit {
        what: request.what.clone(),
        tenant: request.tenant.clone(),
        kind: request.kind.clone(),
        label: request.label.clone(),
        ..Limit::default()
    };
    let left = remote.client.delete_limit(request).await;
    let left = left.map_err(|error| remote.failed(&error, "unset the limit"))?;
    if out.is_json() {
        let limit = left.as_ref().map(json::to_value).transpose()?;
        out.document(&json!({ "limit": limit }))?;
        return Ok(Exit::Ok);
    }
    of.what = of.what.replace('_', "-");
    let rest = match left {
        Some(limit) => format!("is {}, as configured", limit.most),
        None => "no longer has a limit".to_owned(),
    };
    out.line(&format!("{} {rest}", named(&of)))?;
    Ok(Exit::Ok)
}

/// `running of acme, kind video, for each customer`.
fn named(limit: &Limit) -> String {
    let mut name = text::clean(&limit.what);
    match limit.tenant.as_str() {
        "" => name.push_str(" of each tenant"),
        tenant => name.push_str(&format!(" of {}", text::clean(tenant))),
    }
    if !limit.kind.is_empty() {
        name.push_str(&format!(", kind {}", text::clean(&limit.kind)));
    }
    if !limit.label.is_empty() {
        name.push_str(&format!(", for each {}", text::clean(&limit.label)));
    }
    name
}

/// A number, a size in bytes or a duration in seconds, as the limit requires.
fn read(what: &str, most: &str) -> anyhow::Result<u64> {
    let (read, example) = match LimitName::read(what) {
        Ok(LimitName::PayloadBytes | LimitName::ResultBytes | LimitName::StoredBytes) => {
            (size(most).map(|most| most as u64), "16MiB")
        }
        Ok(LimitName::RetentionSeconds) => {
            let read = parse_duration(most).map(|most| most.as_secs());
            (read.map_err(|rule| rule.to_string()), "7d")
        }
        _ => (whole(0..=u64::MAX)(most), "1000"),
    };
    let wrong = |rule| {
        Usage(format!("MOST {most} {rule}; for example: longrun limits set {what} {example}"))
    };
    Ok(read.map_err(wrong)?)
}
