//! Webhooks of the caller's tenant: the list, a form for a new one, and the page of each with its deliveries.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::commands::{self, Command};
use super::deliveries::{self, Asked, Deliveries};
use super::fields::Fields;
use super::problem::status;
use super::to;
use super::view::When;
use super::visit::Visit;
use crate::operation::{StateName, Timestamp};
use crate::proto::v1;
use crate::service::webhooks::{Format, SigningSecret, WebhookRecord};
use crate::service::{ServiceError, Violations};
use crate::wire::webhooks;

#[derive(Debug, Serialize)]
struct List {
    webhooks: Vec<WebhookRow>,
    form: Form,
    /// The violations: fields with their rules.
    wrong: Vec<(String, String)>,
    commands: Vec<Command>,
}

/// The form's contents.
#[derive(Debug, Serialize)]
struct Form {
    url: String,
    filter: String,
    /// Name, and whether it is selected.
    states: Vec<(&'static str, bool)>,
    formats: Vec<(&'static str, bool)>,
}

/// A webhook as a row, and at the top of its page.
#[derive(Debug, Serialize)]
struct WebhookRow {
    id: String,
    /// `None` for callbacks, each of which has its own.
    url: Option<String>,
    filter: String,
    states: Vec<&'static str>,
    format: &'static str,
    created: Option<When>,
    created_by: String,
    paused: Option<When>,
    /// Until when the previous secret signs too.
    former_secret: Option<When>,
}

#[derive(Debug, Serialize)]
struct One {
    webhook: WebhookRow,
    list: Deliveries,
}

#[derive(Debug, Serialize)]
struct Secret {
    webhook: WebhookRow,
    secret: String,
    /// Whether it was made just now.
    is_new: bool,
}

impl WebhookRow {
    fn of(record: &WebhookRecord, now: Timestamp) -> Self {
        let WebhookRecord { id, webhook } = record;
        let when = |at| When::new(at, Some(now));
        let is_made = webhook.created_at != Timestamp::default();
        Self {
            id: id.clone(),
            url: webhook.url.as_ref().map(|url| url.as_str().to_owned()),
            filter: webhook.filter.clone(),
            states: webhook.states.iter().map(|state| state.as_str()).collect(),
            format: webhook.format.as_str(),
            created: is_made.then(|| when(webhook.created_at)),
            created_by: webhook.created_by.clone(),
            paused: webhook.paused_at.map(when),
            former_secret: webhook.former_secret_until.filter(|until| *until > now).map(when),
        }
    }
}

impl Form {
    fn of(fields: &Fields) -> Self {
        let chosen: Vec<&str> = fields.all("state").collect();
        let is_chosen = |state: StateName| match chosen.is_empty() {
            true => state.is_done(),
            false => chosen.contains(&state.as_str()),
        };
        let format = fields.get("format");
        let is_format = |it: Format| {
            if format.is_empty() { it == Format::default() } else { it.as_str() == format }
        };
        Self {
            url: fields.get("url").to_owned(),
            filter: fields.get("filter").to_owned(),
            states: StateName::ALL.map(|state| (state.as_str(), is_chosen(state))).to_vec(),
            formats: Format::ALL.map(|it| (it.as_str(), is_format(it))).to_vec(),
        }
    }

    fn request(fields: &Fields) -> v1::CreateWebhookRequest {
        v1::CreateWebhookRequest {
            url: fields.word("url").to_owned(),
            filter: fields.word("filter").to_owned(),
            states: fields.all("state").map(str::to_owned).collect(),
            format: fields.get("format").to_owned(),
            tenant: String::new(),
        }
    }
}

fn show(
    visit: &Visit,
    code: StatusCode,
    form: Form,
    wrong: Vec<(String, String)>,
) -> Result<Response, ServiceError> {
    let now = visit.service().now();
    let listed = visit.service().list_webhooks(&visit.caller, None)?;
    let webhooks = listed.iter().map(|record| WebhookRow::of(record, now)).collect();
    let view = List { webhooks, form, wrong, commands: commands::of_webhooks(visit) };
    visit.show(code, "webhooks.html", &visit.frame("Webhooks", "webhooks"), view)
}

/// `GET webhooks`.
pub(super) fn list(visit: &Visit) -> Result<Response, ServiceError> {
    show(visit, StatusCode::OK, Form::of(&visit.query), Vec::new())
}

/// `POST webhooks`: redirects to the new webhook, or shows the form with its violations.
pub(super) async fn create(visit: &Visit) -> Result<Response, ServiceError> {
    let mut found = Violations::default();
    let new = webhooks::new_webhook(Form::request(&visit.form), &mut found);
    let made = match found.settle(new) {
        Ok(new) => visit.service().create_webhook(&visit.caller, new).await,
        Err(error) => Err(error),
    };
    match made {
        Ok((record, _)) => Ok(to(&format!("webhooks/{}", record.id))),
        Err(error) => {
            let wrong = match error.violations.is_empty() {
                true => vec![(String::new(), error.message)],
                false => {
                    error.violations.into_iter().map(|it| (it.field, it.description)).collect()
                }
            };
            show(visit, status(error.reason), Form::of(&visit.form), wrong)
        }
    }
}

/// The id in the path.
fn id(visit: &Visit) -> &str {
    visit.places.first().map(String::as_str).unwrap_or_default()
}

/// `GET webhooks/ID`.
pub(super) async fn page(visit: &Visit) -> Result<Response, ServiceError> {
    let record = visit.service().webhook(&visit.caller, None, id(visit))?;
    let list = Asked::of_webhook(visit, &record.id).read(visit).await?;
    let webhook = WebhookRow::of(&record, visit.service().now());
    let title = format!("Webhook {}", record.id);
    visit.show(
        StatusCode::OK,
        "webhook.html",
        &visit.frame(title, "webhooks"),
        One { webhook, list },
    )
}

/// `GET webhooks/ID/live`: the stream of its deliveries.
pub(super) fn live(visit: Visit) -> Result<Response, ServiceError> {
    let record = visit.service().webhook(&visit.caller, None, id(&visit))?;
    let asked = Asked::of_webhook(&visit, &record.id);
    deliveries::follow(visit, asked, "../")
}

/// `POST webhooks/ID/pause`.
pub(super) async fn pause(visit: &Visit) -> Result<Response, ServiceError> {
    let record = visit.service().pause_webhook(&visit.caller, None, id(visit)).await?;
    Ok(to(&format!("../{}", record.id)))
}

/// `POST webhooks/ID/resume`.
pub(super) async fn resume(visit: &Visit) -> Result<Response, ServiceError> {
    let record = visit.service().resume_webhook(&visit.caller, None, id(visit)).await?;
    Ok(to(&format!("../{}", record.id)))
}

/// `POST webhooks/ID/delete`.
pub(super) async fn delete(visit: &Visit) -> Result<Response, ServiceError> {
    visit.service().delete_webhook(&visit.caller, None, id(visit)).await?;
    Ok(to("../../webhooks"))
}

/// `POST webhooks/ID/secret`: a page with the secret; no link leads to it.
pub(super) fn secret(visit: &Visit) -> Result<Response, ServiceError> {
    let found = visit.service().webhook_secret(&visit.caller, None, id(visit))?;
    show_secret(visit, found, false)
}

/// `POST webhooks/ID/rotate`: a new secret, and a page with it.
pub(super) async fn rotate(visit: &Visit) -> Result<Response, ServiceError> {
    let made = visit.service().rotate_webhook_secret(&visit.caller, None, id(visit)).await?;
    show_secret(visit, made, true)
}

fn show_secret(
    visit: &Visit,
    (record, secret): (WebhookRecord, SigningSecret),
    is_new: bool,
) -> Result<Response, ServiceError> {
    let webhook = WebhookRow::of(&record, visit.service().now());
    let view = Secret { webhook, secret: secret.text(), is_new };
    let frame = visit.frame("Secret", "webhooks");
    visit.show(StatusCode::OK, "webhook_secret.html", &frame, view)
}
