//! `longrun webhook`: webhooks, their secrets and their deliveries.

use clap::Subcommand;
use serde_json::json;

use super::output::Output;
use super::remote::Remote;
use super::table::{Cell, Table};
use super::{Exit, completions, describe, selection, text};
use crate::config::whole;
use crate::proto::json;
use crate::proto::v1::operation::State;
use crate::proto::v1::{CreateWebhookRequest, Delivery, ListDeliveriesRequest, Webhook};

const EXAMPLES: &str = "\
Examples:
  longrun webhook create https://hooks.example.com/longrun
  longrun webhook create https://hooks.example.com/failed --state FAILED --filter 'kind = \"report\"'
  longrun webhook list
  longrun webhook pause mfrggzdfmztwq2lk
  longrun webhook resume mfrggzdfmztwq2lk
  longrun webhook delete mfrggzdfmztwq2lk
  longrun webhook secret callbacks       signs the callbacks of submissions (--callback-url)
  longrun webhook rotate mfrggzdfmztwq2lk
  longrun webhook deliveries --state DEAD
  longrun webhook deliveries --webhook callbacks
  longrun webhook deliveries --operation 0198000a-0000-7000-8000-000000000000
  longrun webhook redeliver msg_3c0f...

The server sends a signed POST (Standard Webhooks) for every transition that matches, at least once,
and retries for days (docs/webhooks.md). For the role admin; --tenant is for operators.";

/// Arguments of `webhook`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Tenant, for operators [default: the caller's own]
    #[arg(
        long,
        global = true,
        value_name = "TENANT",
        default_value = "",
        hide_default_value = true
    )]
    tenant: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a webhook, and print its secret
    Create(CreateArgs),
    /// List webhooks
    List,
    /// Delete a webhook, and its pending deliveries
    Delete(Which),
    /// Pause a webhook: deliveries are stored and not sent
    Pause(Which),
    /// Resume a webhook: deliveries that waited are sent
    Resume(Which),
    /// Print the secret of a webhook, or of callbacks
    Secret(Which),
    /// Make a new secret; the previous one signs as well for 24 h
    Rotate(Which),
    /// List deliveries, the latest first
    Deliveries(DeliveriesArgs),
    /// Send a delivery again
    Redeliver(RedeliverArgs),
}

#[derive(clap::Args, Debug)]
struct CreateArgs {
    /// URL of the receiver
    url: String,
    /// Only operations that match, as in `longrun list --filter`
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,
    /// Send only transitions to this state; repeatable [default: the final states]
    #[arg(long = "state", value_name = "STATE", value_parser = selection::state, add = completions::states())]
    states: Vec<State>,
    /// Format of the messages
    #[arg(long, value_name = "FORMAT", default_value = "plain", value_parser = ["plain", "cloudevents"])]
    format: String,
}

#[derive(clap::Args, Debug)]
struct Which {
    /// Id of the webhook, or `callbacks`
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(clap::Args, Debug)]
struct DeliveriesArgs {
    /// Only deliveries in this state
    #[arg(long, value_name = "STATE", value_parser = ["PENDING", "DELIVERED", "DEAD"], ignore_case = true)]
    state: Option<String>,
    /// Only deliveries of this webhook, or of `callbacks`
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    webhook: String,
    /// Only deliveries of this operation
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    operation: String,
    /// The most deliveries to list
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = whole(1_u32..=100_000))]
    limit: u32,
}

#[derive(clap::Args, Debug)]
struct RedeliverArgs {
    /// Ids of deliveries
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let Args { command, tenant } = args;
    match command {
        Command::Create(args) => create(args, tenant, remote, out).await,
        Command::List => list(&tenant, remote, out).await,
        Command::Delete(Which { id }) => {
            let deleted = remote.client.delete_webhook(&tenant, &id).await;
            deleted.map_err(|error| remote.failed(&error, &format!("delete {id}")))?;
            if !out.is_json() {
                out.line(&format!("{id} is deleted"))?;
            }
            Ok(Exit::Ok)
        }
        Command::Pause(Which { id }) => {
            let paused = remote.client.pause_webhook(&tenant, &id).await;
            let paused = paused.map_err(|error| remote.failed(&error, &format!("pause {id}")))?;
            match out.is_json() {
                true => out.document(&json::to_value(&paused)?)?,
                false => out.line(&format!("{id} is paused"))?,
            }
            Ok(Exit::Ok)
        }
        Command::Resume(Which { id }) => {
            let resumed = remote.client.resume_webhook(&tenant, &id).await;
            let resumed =
                resumed.map_err(|error| remote.failed(&error, &format!("resume {id}")))?;
            match out.is_json() {
                true => out.document(&json::to_value(&resumed)?)?,
                false => out.line(&format!("{id} is resumed"))?,
            }
            Ok(Exit::Ok)
        }
        Command::Secret(Which { id }) => {
            let found = remote.client.webhook_secret(&tenant, &id).await;
            let found = found
                .map_err(|error| remote.failed(&error, &format!("show the secret of {id}")))?;
            match out.is_json() {
                true => out.document(&json::to_value(&found)?)?,
                false => out.line(&found.secret)?,
            }
            Ok(Exit::Ok)
        }
        Command::Rotate(Which { id }) => {
            let made = remote.client.rotate_webhook_secret(&tenant, &id).await;
            let made =
                made.map_err(|error| remote.failed(&error, &format!("change the secret of {id}")))?;
            if out.is_json() {
                out.document(&json::to_value(&made)?)?;
            } else {
                out.line(&made.secret)?;
                out.note("for 24 h, the previous secret signs messages as well");
            }
            Ok(Exit::Ok)
        }
        Command::Deliveries(args) => deliveries(args, tenant, remote, out).await,
        Command::Redeliver(args) => redeliver(args, &tenant, remote, out).await,
    }
}

async fn create(
    args: CreateArgs,
    tenant: String,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let CreateArgs { url, filter, states, format } = args;
    let states = states.into_iter().map(|state| describe::state_name(state).to_owned()).collect();
    let request = CreateWebhookRequest { url, filter, states, format, tenant };
    let made = remote.client.create_webhook(request).await;
    let made = made.map_err(|error| remote.failed(&error, "make a webhook"))?;
    if out.is_json() {
        out.document(&json::to_value(&made)?)?;
        return Ok(Exit::Ok);
    }
    out.line(&made.secret)?;
    let id = made.webhook.map(|webhook| webhook.webhook_id).unwrap_or_default();
    out.note(&format!("the secret of webhook {id}; its receiver needs it to verify messages"));
    Ok(Exit::Ok)
}

async fn list(tenant: &str, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let listed = remote.client.list_webhooks(tenant).await;
    let listed = listed.map_err(|error| remote.failed(&error, "list webhooks"))?;
    if out.is_json() {
        let listed = listed.iter().map(json::to_value).collect::<Result<Vec<_>, _>>()?;
        out.document(&json!({ "webhooks": listed }))?;
    } else {
        let headings = ["ID", "URL", "STATES", "FILTER", "FORMAT", "AGE", "PAUSED"];
        let rows = listed.iter().map(webhook_row).collect();
        out.line(&Table::new(headings, out.paint).block(rows))?;
    }
    Ok(Exit::Ok)
}

fn webhook_row(webhook: &Webhook) -> [Cell; 7] {
    let age = |time| text::time(time).map(|time| text::age(time, text::now()));
    let paused = text::time(webhook.pause_time.as_ref());
    let paused = paused.map(|since| format!("for {}", text::elapsed(since, text::now())));
    let url = match webhook.url.as_str() {
        "" => "of each submission".to_owned(),
        url => text::shorten(&text::clean(url), 60),
    };
    [
        webhook.webhook_id.clone().into(),
        url.into(),
        text::shorten(&webhook.states.join(","), 50).into(),
        text::shorten(&text::clean(&webhook.filter), 40).into(),
        webhook.format.clone().into(),
        age(webhook.create_time.as_ref()).unwrap_or_default().into(),
        paused.unwrap_or_default().into(),
    ]
}

async fn deliveries(
    args: DeliveriesArgs,
    tenant: String,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let DeliveriesArgs { state, webhook, operation, limit } = args;
    let (state, webhook_id) = (state.unwrap_or_default().to_ascii_uppercase(), webhook);
    let operation = match operation.as_str() {
        "" => operation,
        text => remote.name(text).await?,
    };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut request =
        ListDeliveriesRequest { tenant, state, webhook_id, operation, ..Default::default() };
    let mut listed: Vec<Delivery> = Vec::new();
    while listed.len() < most {
        request.page_size = i32::try_from((most - listed.len()).min(1_000)).unwrap_or(1_000);
        let page = remote.client.list_deliveries(request.clone()).await;
        let page = page.map_err(|error| remote.failed(&error, "list deliveries"))?;
        listed.extend(page.deliveries);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let are_more = listed.len() > most || !request.page_token.is_empty();
    listed.truncate(most);
    if out.is_json() {
        let listed = listed.iter().map(json::to_value).collect::<Result<Vec<_>, _>>()?;
        out.document(&json!({ "deliveries": listed }))?;
    } else if listed.is_empty() {
        out.note("no deliveries");
    } else {
        let headings =
            ["ID", "WEBHOOK", "EVENT", "OPERATION", "STATE", "TRIES", "AGE", "NEXT", "LAST"];
        let rows = listed.iter().map(delivery_row).collect();
        out.line(&Table::new(headings, out.paint).block(rows))?;
    }
    if are_more {
        out.note(&format!("there are more: use --limit, now {limit}"));
    }
    Ok(Exit::Ok)
}

fn delivery_row(delivery: &Delivery) -> [Cell; 9] {
    let now = text::now();
    let age = text::time(delivery.create_time.as_ref()).map(|time| text::age(time, now));
    // A try whose time has come is about to be made.
    let next = text::time(delivery.next_attempt_time.as_ref());
    let next = next.map(|time| text::age(time.max(now), now));
    let last = match (delivery.last_error.as_str(), delivery.last_status) {
        ("", 0) => String::new(),
        ("", status) => status.to_string(),
        (error, _) => text::shorten(&text::clean(error), 120),
    };
    let operation = delivery.operation.strip_prefix("operations/").unwrap_or(&delivery.operation);
    [
        delivery.delivery_id.clone().into(),
        delivery.webhook_id.clone().into(),
        delivery.event.clone().into(),
        operation.to_owned().into(),
        delivery.state.clone().into(),
        delivery.attempts.to_string().into(),
        age.unwrap_or_default().into(),
        next.unwrap_or_default().into(),
        last.into(),
    ]
}

async fn redeliver(
    args: RedeliverArgs,
    tenant: &str,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    for id in &args.ids {
        let again = remote.client.redeliver(tenant, id).await;
        let again = again.map_err(|error| remote.failed(&error, &format!("redeliver {id}")))?;
        match out.is_json() {
            true => out.record(&json::to_value(&again)?)?,
            false => out.line(&format!("{id} is sent again"))?,
        }
    }
    Ok(Exit::Ok)
}
