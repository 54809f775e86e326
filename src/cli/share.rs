//! `longrun share`: URLs that show one operation without other credentials.

use std::time::Duration;

use serde_json::json;

use super::output::Output;
use super::remote::Remote;
use super::table::{Cell, Table};
use super::{Exit, text};
use crate::proto::json;
use crate::proto::v1::Share;
use crate::time_text::parse_duration;

const EXAMPLES: &str = "\
Examples:
  longrun share 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --for 7d
  longrun share 01980a3e --list
  longrun share 01980a3e --revoke mfrggzdfmztwq2lk

Anyone with the URL can see the operation's status, wait for it, follow its events and read its
result over HTTP: URL, URL/status, URL/events, URL/result. The input and all other operations stay
hidden. The URL is printed once, when it is made. It is valid no longer than the operation exists.";

/// Arguments of `share`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The operation: a name, an id, the beginning of an id, or a URL
    #[arg(value_name = "OPERATION")]
    name: String,
    /// How long the URL is valid, from 1 s to 366 days
    #[arg(
        long = "for",
        value_name = "DURATION",
        value_parser = parse_duration,
        default_value = "24h",
        conflicts_with_all = ["list", "revoke"]
    )]
    ttl: Duration,
    /// List the operation's shares instead, without their tokens
    #[arg(long, conflicts_with = "revoke")]
    list: bool,
    /// Revoke the share of this id instead
    #[arg(long, value_name = "ID")]
    revoke: Option<String>,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let name = remote.name(&args.name).await?;
    if args.list {
        return list(&name, remote, out).await;
    }
    if let Some(id) = &args.revoke {
        let revoked = remote.client.revoke_share(&name, id).await;
        revoked.map_err(|error| remote.failed(&error, &format!("revoke {id}")))?;
        if !out.is_json() {
            out.line(&format!("{id} is revoked"))?;
        }
        return Ok(Exit::Ok);
    }
    let made = remote.client.create_share(&name, Some(args.ttl)).await;
    let mut made = made.map_err(|error| remote.failed(&error, &format!("share {name}")))?;
    made.url = remote.absolute(&made.url);
    if out.is_json() {
        out.document(&json::to_value(&made)?)?;
        return Ok(Exit::Ok);
    }
    out.line(&made.url)?;
    let share = made.share.unwrap_or_default();
    let id = &share.share_id;
    let valid = match lifetime(&share).filter(|lifetime| *lifetime < args.ttl) {
        Some(left) => format!("valid for {}, until the operation is deleted", text::duration(left)),
        None => {
            let most = text::duration(args.ttl);
            format!("valid for at most {most}, and not longer than the operation is kept")
        }
    };
    out.note(&format!(
        "{valid}; anyone with the URL can read the result; `longrun share {} --revoke {id}` revokes it",
        args.name
    ));
    Ok(Exit::Ok)
}

/// For how long the share is valid.
fn lifetime(share: &Share) -> Option<Duration> {
    let begin = text::time(share.create_time.as_ref())?;
    text::time(share.expire_time.as_ref())?.duration_since(begin).ok()
}

async fn list(name: &str, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let shares = remote.client.list_shares(name).await;
    let shares = shares.map_err(|error| remote.failed(&error, "list shares"))?;
    if out.is_json() {
        let shares = shares.iter().map(json::to_value).collect::<Result<Vec<_>, _>>()?;
        out.document(&json!({ "shares": shares }))?;
    } else if shares.is_empty() {
        out.note("no shares");
    } else {
        let headings = ["ID", "AGE", "EXPIRES IN", "BY"];
        let rows = shares.iter().map(row).collect();
        out.line(&Table::new(headings, out.paint).block(rows))?;
    }
    Ok(Exit::Ok)
}

fn row(share: &Share) -> [Cell; 4] {
    let now = text::now();
    let age = text::time(share.create_time.as_ref()).map(|time| text::age(time, now));
    let left = text::time(share.expire_time.as_ref()).and_then(|end| end.duration_since(now).ok());
    [
        share.share_id.clone().into(),
        age.unwrap_or_default().into(),
        left.map(text::duration).unwrap_or_default().into(),
        text::clean(&share.created_by).into(),
    ]
}
