//! `longrun key`: API keys.

use std::time::{Duration, SystemTime};

use clap::Subcommand;
use serde_json::json;

use super::output::{Output, Usage};
use super::remote::Remote;
use super::table::{Cell, Table};
use super::{Exit, text};
use crate::proto::json;
use crate::proto::v1::{CreateKeyRequest, Key, ListKeysRequest};
use crate::service::keys::{KeyText, PREFIX};
use crate::time_text::parse_duration;

const EXAMPLES: &str = "\
Examples:
  longrun key create --role submit,read --name billing
  longrun key create --tenant acme --role work --kind report.build --expires 90d
  longrun key list --json
  longrun key revoke mfrggzdfmztwq2lk
  longrun key generate                               for the file of `serve --key-file`

A key is printed once, when it is made. Clients send it as `authorization: Bearer KEY`. A new key is
valid at once; a revoked one stays valid for at most a second at other replicas.
Roles: submit, read, work, admin (all within the tenant), operator (keys of all tenants).";

/// Arguments of `key`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key, and print it
    Create(CreateArgs),
    /// List keys, without their secrets
    List(ListArgs),
    /// Revoke keys for good
    Revoke(RevokeArgs),
    /// Make a key for the file of `serve --key-file`, without a server
    Generate,
}

#[derive(clap::Args, Debug)]
struct CreateArgs {
    /// Tenant; by default the caller's own
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    tenant: String,
    /// Role of the key: submit, read, work, admin, operator; repeatable, or separated by commas
    #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
    roles: Vec<String>,
    /// Kind that the key may execute, with the role work; all by default; repeatable, or separated by commas
    #[arg(long = "kind", alias = "kinds", value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Lifetime of the key, e.g. 30d; unlimited by default
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Name of the key's user, for audit records
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    /// Tenant; by default the caller's own; - for all tenants
    #[arg(
        long,
        value_name = "TENANT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    tenant: String,
}

#[derive(clap::Args, Debug)]
struct RevokeArgs {
    /// Ids of the keys, or the keys themselves
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

/// Makes a key without a server; `None` if the command needs one.
pub(super) fn run_alone(args: &Args, out: &Output) -> Option<anyhow::Result<Exit>> {
    matches!(args.command, Command::Generate).then(|| generate(out))
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    match args.command {
        Command::Create(args) => create(args, remote, out).await,
        Command::List(args) => list(args, remote, out).await,
        Command::Revoke(args) => revoke(args, remote, out).await,
        Command::Generate => generate(out),
    }
}

fn generate(out: &Output) -> anyhow::Result<Exit> {
    let key = KeyText::generate().map_err(anyhow::Error::msg)?;
    match out.is_json() {
        true => out.document(&json!({ "key": key.text(), "hash": key.hash() }))?,
        false => out.line(&format!("key  = \"{}\"\nhash = \"{}\"", key.text(), key.hash()))?,
    }
    Ok(Exit::Ok)
}

async fn create(args: CreateArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let CreateArgs { tenant, roles, kinds, expires, name } = args;
    let expire_time = match expires {
        None => None,
        Some(after) => {
            let at = text::now().checked_add(after);
            Some(
                at.ok_or_else(|| {
                    Usage(
                        "--expires is too long: it must be at most ten years, e.g. --expires 90d"
                            .to_owned(),
                    )
                })?
                .into(),
            )
        }
    };
    let request = CreateKeyRequest { tenant, roles, kinds, name, expire_time };
    let made = remote.client.create_key(request).await;
    let made = made.map_err(|error| remote.failed(&error, "make a key"))?;
    if out.is_json() {
        out.document(&json::to_value(&made)?)?;
        return Ok(Exit::Ok);
    }
    out.line(&made.secret)?;
    let id = made.key.map(|key| key.key_id).unwrap_or_default();
    out.note(&format!("the key is shown only this once; `longrun key revoke {id}` revokes it"));
    Ok(Exit::Ok)
}

async fn list(args: ListArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let mut request =
        ListKeysRequest { tenant: args.tenant, page_size: 1_000, ..Default::default() };
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let page = remote.client.list_keys(request.clone()).await;
        let page = page.map_err(|error| remote.failed(&error, "list keys"))?;
        keys.extend(page.keys);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        let keys = keys.iter().map(json::to_value).collect::<Result<Vec<_>, _>>()?;
        out.document(&json!({ "keys": keys }))?;
    } else if keys.is_empty() {
        out.note("no keys");
    } else {
        let headings = ["ID", "TENANT", "ROLES", "NAME", "AGE", "LAST USE", "STATE"];
        let now = text::now();
        let rows = keys.iter().map(|key| row(key, now)).collect();
        out.line(&Table::new(headings, out.paint).block(rows))?;
    }
    Ok(Exit::Ok)
}

async fn revoke(args: RevokeArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    for key in &args.keys {
        // A whole key has its id after the prefix.
        let id = key.strip_prefix(PREFIX).unwrap_or(key).split('_').next().unwrap_or_default();
        let revoked = remote.client.revoke_key(id).await;
        let revoked = revoked.map_err(|error| remote.failed(&error, &format!("revoke {id}")))?;
        match out.is_json() {
            true => out.record(&json::to_value(&revoked)?)?,
            false => out.line(&format!("{id} is revoked"))?,
        }
    }
    Ok(Exit::Ok)
}

fn row(key: &Key, now: SystemTime) -> [Cell; 7] {
    let age = |time: Option<&prost_types::Timestamp>| {
        text::time(time).map(|time| text::age(time, now)).unwrap_or_default()
    };
    let roles = match key.kinds.as_slice() {
        [] => key.roles.join(","),
        kinds => format!("{} of {}", key.roles.join(","), kinds.join(",")),
    };
    let end = text::time(key.expire_time.as_ref());
    let state = match (&key.revoke_time, end) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(end)) => match end.duration_since(now) {
            Ok(left) => format!("expires in {}", text::duration(left)),
            Err(_) => "expired".to_owned(),
        },
        (None, None) => "valid".to_owned(),
    };
    [
        key.key_id.clone().into(),
        key.tenant.clone().into(),
        text::shorten(&text::clean(&roles), 60).into(),
        text::clean(&key.name).into(),
        age(key.create_time.as_ref()).into(),
        age(key.last_use_time.as_ref()).into(),
        state.into(),
    ]
}
