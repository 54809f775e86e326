//! A form that submits an operation: of its input's fields if the kind has a schema, or else with the input as text.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::contents::{Role, text_of};
use super::fields::Fields;
use super::problem::status;
use super::schema::{InputSchema, SchemaForm};
use super::view::labels;
use super::visit::Visit;
use super::{operation, to};
use crate::operation::payload::is_json;
use crate::operation::{Kind, NewOperation, Payload, Range, Setting, Settings};
use crate::proto::{json, v1};
use crate::service::{Action, OperationName, ServiceError, View, Violations};
use crate::time_text::{WrongDuration, parse_duration};
use crate::wire::decode;

/// Types of inputs, with their names for people.
const TYPES: [(&str, &str); 3] =
    [("application/json", "JSON"), ("text/plain; charset=utf-8", "Text"), ("", "No input")];
/// The maximum number of kinds that are offered.
const MOST_KINDS: usize = 200;

#[derive(Debug, Default, Serialize)]
struct Form {
    kind: String,
    media_type: String,
    input: String,
    labels: String,
    start_in: String,
    idempotency_key: String,
    settings: Vec<SettingField>,
    types: [(&'static str, &'static str); 3],
    kinds: Vec<String>,
    /// The kinds whose inputs have a form.
    forms: Vec<String>,
    /// The form of the input, if it is shown in place of a text.
    schema: Option<SchemaForm>,
    /// The violations: fields with their rules.
    wrong: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct SettingField {
    name: &'static str,
    label: String,
    value: String,
    default: &'static str,
    about: &'static str,
    range: String,
}

impl Form {
    fn of(fields: &Fields) -> Self {
        let settings = Settings::ALL.iter().map(|setting| SettingField {
            name: setting.name,
            label: capitalised(setting.name),
            value: fields.get(setting.name).to_owned(),
            default: setting.default,
            about: setting.about,
            range: setting.range.to_string(),
        });
        let media_type = match fields.has("media_type") {
            true => fields.get("media_type"),
            false => TYPES[0].0,
        };
        Self {
            kind: fields.get("kind").to_owned(),
            media_type: media_type.to_owned(),
            input: fields.get("input").to_owned(),
            labels: fields.get("labels").to_owned(),
            start_in: fields.get("start_in").to_owned(),
            idempotency_key: fields.get("idempotency_key").to_owned(),
            settings: settings.collect(),
            types: TYPES,
            ..Self::default()
        }
    }

    /// The form of the schema with this form's input; `None` if it cannot make that.
    fn like_schema(&self, schema: &InputSchema) -> Option<SchemaForm> {
        match self.input.as_str() {
            "" => Some(schema.untouched()),
            text => schema.of_input(&serde_json::from_str(text).ok()?),
        }
    }

    async fn show(mut self, visit: &Visit, status: StatusCode) -> Result<Response, ServiceError> {
        if visit.caller.can(Action::Inspect) {
            let (kinds, _) = visit.service().list_kinds(&visit.caller).await?;
            self.kinds =
                kinds.iter().take(MOST_KINDS).map(|it| it.figures.kind.to_string()).collect();
        }
        self.forms = visit.shared().options.schemas.keys().map(Kind::to_string).collect();
        visit.show(status, "start.html", &visit.frame("Start one", "start"), self)
    }
}

/// The schema of the kind's inputs, if it has one.
fn schema<'a>(visit: &'a Visit, kind: &str) -> Option<&'a InputSchema> {
    visit.shared().options.schemas.get(&Kind::parse(kind).ok()?)
}

/// `queue_timeout` as `Queue timeout`.
fn capitalised(name: &str) -> String {
    let words = name.replace('_', " ");
    let (first, rest) = words.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// `GET start`; with `?from=ID`, filled in like that operation's submission.
pub(super) async fn page(visit: &Visit) -> Result<Response, ServiceError> {
    let mut form = Form::of(&visit.query);
    if visit.query.has("from") {
        like(visit, &operation::by_id(visit.query.word("from"))?, &mut form).await?;
    }
    if visit.query.word("as") != "json" {
        form.schema = schema(visit, &form.kind).and_then(|schema| form.like_schema(schema));
    }
    form.show(visit, StatusCode::OK).await
}

/// Fills in the submission of another operation.
async fn like(visit: &Visit, name: &OperationName, form: &mut Form) -> Result<(), ServiceError> {
    let document = visit.service().get(&visit.caller, name, View::Basic).await?;
    form.kind = document.operation.submission.kind.to_string();
    let own = labels(&document.operation).into_iter();
    form.labels = own.map(|(key, value)| format!("{key}={value}\n")).collect();
    match &document.operation.submission.input {
        None => form.media_type = String::new(),
        Some(info) if visit.caller.can(Action::Read) => {
            if let Some(text) = text_of(visit, name.id, Role::Input, info).await? {
                let is_text = !is_json(&info.content_type);
                form.media_type = TYPES[usize::from(is_text)].0.to_owned();
                form.input = text;
            }
        }
        Some(_) => {}
    }
    Ok(())
}

/// `POST start`: redirects to the new operation, or shows the form with its violations.
pub(super) async fn submit(visit: &Visit) -> Result<Response, ServiceError> {
    let refused = match read(visit) {
        Ok(new) => match visit.service().submit(&visit.caller, new).await {
            Ok(submitted) => {
                let id = submitted.document.operation.id();
                // A caller that may not read it sees only its name.
                return match visit.caller.can(Action::Inspect) {
                    true => Ok(to(&format!("operations/{id}"))),
                    false => visit.show(
                        StatusCode::OK,
                        "started.html",
                        &visit.frame("Started", "start"),
                        id.name(),
                    ),
                };
            }
            Err(error) => error,
        },
        Err(error) => error,
    };
    let mut form = Form::of(&visit.form);
    form.schema = sent_schema(visit).map(|schema| schema.sent(&visit.form));
    form.wrong = match refused.violations.is_empty() {
        true => vec![(String::new(), refused.message)],
        false => refused.violations.into_iter().map(|it| (it.field, it.description)).collect(),
    };
    form.show(visit, status(refused.reason)).await
}

/// The schema whose form was sent.
fn sent_schema(visit: &Visit) -> Option<&InputSchema> {
    let is_sent = visit.form.get("as") == "fields";
    schema(visit, visit.form.word("kind")).filter(|_| is_sent)
}

fn read(visit: &Visit) -> Result<NewOperation, ServiceError> {
    let (form, limits) = (&visit.form, visit.service().limits());
    let mut found = Violations::default();
    let mut request = v1::SubmitRequest {
        kind: form.word("kind").to_owned(),
        idempotency_key: form.word("idempotency_key").to_owned(),
        ..v1::SubmitRequest::default()
    };
    for line in form.get("labels").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if request.labels.insert(key.trim().to_owned(), value.trim().to_owned()).is_some() {
            found.note("labels", format!("must give {key:?} once"));
        }
    }
    request.start_in = duration(form.word("start_in"), "start_in", &mut found);
    let mut settings: Vec<(&str, Value)> = Vec::new();
    for Setting { name, path, range, .. } in Settings::ALL {
        let text = form.word(name);
        let value = match range {
            _ if text.is_empty() => None,
            Range::Whole(..) => number(text.parse::<i32>().ok(), name, &mut found),
            Range::Real(..) => number(text.parse::<f64>().ok(), name, &mut found),
            Range::Time(..) => duration(text, name, &mut found).map(|time| time.to_string().into()),
        };
        settings.extend(value.map(|value| (*path, value)));
    }
    request.settings = found.take(json::from_fields(settings));
    let input = match sent_schema(visit) {
        Some(schema) => {
            let text = schema.input(form, &mut found).to_string();
            payload(TYPES[0].0, text, limits.max_message_payload_bytes(), &mut found)
        }
        None => input(form, limits.max_message_payload_bytes(), &mut found),
    };
    let new = decode::new_operation(request, "", limits, &mut found);
    // A setting's path becomes the name of its field.
    let to_field = |field: &mut String| {
        if let Some(setting) = field.strip_prefix("settings.").and_then(Setting::at) {
            setting.name.clone_into(field);
        }
    };
    let new = found.renamed(to_field).settle(new)?;
    Ok(NewOperation { input, ..new })
}

fn number(value: Option<impl Into<Value>>, name: &str, found: &mut Violations) -> Option<Value> {
    if value.is_none() {
        found.note(name, "must be a number");
    }
    value.map(Into::into)
}

fn duration(text: &str, name: &str, found: &mut Violations) -> Option<prost_types::Duration> {
    if text.is_empty() {
        return None;
    }
    let duration = parse_duration(text)
        .and_then(|it| prost_types::Duration::try_from(it).map_err(|_| WrongDuration::TooLong));
    duration.map_err(|rule| found.note(name, rule.to_string())).ok()
}

fn input(form: &Fields, most: usize, found: &mut Violations) -> Option<Payload> {
    let media_type = form.get("media_type");
    if media_type.is_empty() {
        return None;
    }
    // Browsers send line breaks as two characters.
    let text = form.get("input").replace("\r\n", "\n");
    payload(media_type, text, most, found)
}

fn payload(media_type: &str, text: String, most: usize, found: &mut Violations) -> Option<Payload> {
    if text.len() > most {
        found.too_large("input", format!("must be at most {most} bytes, and is {}", text.len()));
        return None;
    }
    if is_json(media_type)
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text)
    {
        found.note("input", format!("must be JSON: {error}"));
        return None;
    }
    Some(Payload::sniffed(media_type, Bytes::from(text)))
}
