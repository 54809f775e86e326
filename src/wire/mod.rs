//! Between the messages of the wire and the domain. A stand-in until the real one is merged.
#![allow(missing_docs)]

pub mod decode {
    use std::time::Duration;

    use crate::operation::*;
    use crate::proto::v1;
    use crate::service::{Limits, OperationName, ServiceError, View};

    fn field<T>(name: &str, parsed: Result<T, id::InvalidName>) -> Result<T, ServiceError> {
        parsed.map_err(|error| ServiceError::invalid_field(name, error.to_string()))
    }

    pub fn new_operation(
        request: v1::SubmitRequest,
        field_prefix: &str,
        _limits: &Limits,
    ) -> Result<NewOperation, ServiceError> {
        let mut settings = Settings::default();
        let given = request.settings.unwrap_or_default();
        settings.priority = u8::try_from(given.priority).unwrap_or_default();
        let duration = |d: prost_types::Duration| Duration::try_from(d).ok();
        settings.queue_timeout = given.queue_timeout.and_then(duration);
        settings.deadline = given.deadline.and_then(duration);
        let input = request.input.map(|input| {
            let content_type = input.content_type.as_str();
            match input.content {
                Some(v1::payload::Content::Text(text)) => {
                    Payload::new(PayloadForm::Text, content_type, text.into())
                }
                Some(v1::payload::Content::Data(data)) => {
                    Payload::new(PayloadForm::Data, content_type, data)
                }
                _ => Payload::new(PayloadForm::Json, content_type, "{}".into()),
            }
        });
        Ok(NewOperation {
            tenant: TenantId::default_tenant(),
            kind: field(&format!("{field_prefix}kind"), Kind::parse(&request.kind))?,
            labels: request.labels.into_iter().collect(),
            settings,
            start_at: None,
            idempotency_key: idempotency_key("idempotency_key", &request.idempotency_key)?,
            retry_of: None,
            input,
        })
    }

    pub fn operation_name(name: &str, text: &str) -> Result<OperationName, ServiceError> {
        let (tenant, rest) = match text.strip_prefix("tenants/") {
            Some(rest) => {
                let (tenant, rest) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(field(name, TenantId::parse(tenant))?), rest)
            }
            None => (None, text),
        };
        let id = rest.strip_prefix("operations/").unwrap_or(rest);
        Ok(OperationName { tenant, id: field(name, OperationId::parse(id))? })
    }

    pub fn idempotency_key(name: &str, text: &str) -> Result<Option<IdempotencyKey>, ServiceError> {
        if text.is_empty() {
            return Ok(None);
        }
        field(name, IdempotencyKey::parse(text)).map(Some)
    }

    pub fn view(number: i32, default: View) -> Result<View, ServiceError> {
        Ok(match number {
            1 => View::Basic,
            2 => View::Result,
            3 => View::Full,
            _ => default,
        })
    }
}

pub mod encode {
    use crate::operation::{OperationError, Outcome, State, Timestamp};
    use crate::proto::v1;
    use crate::service::Document;
    use crate::store::HistoryEntry;

    fn time(at: Timestamp) -> Option<prost_types::Timestamp> {
        let nanos = i32::try_from(at.micros() % 1_000_000).unwrap_or_default() * 1_000;
        Some(prost_types::Timestamp { seconds: at.micros() / 1_000_000, nanos })
    }

    fn error(error: &OperationError) -> v1::Error {
        v1::Error {
            code: error.code.clone(),
            message: error.message.clone(),
            status_code: i32::from(error.status_code),
            metadata: error.metadata.clone().into_iter().collect(),
            causes: error.causes.iter().map(self::error).collect(),
            source: 1,
        }
    }

    pub fn operation(document: &Document) -> v1::Operation {
        let operation = &*document.operation;
        let mut encoded = v1::Operation {
            name: operation.id().name(),
            tenant: operation.submission.tenant.to_string(),
            kind: operation.submission.kind.to_string(),
            labels: operation.submission.labels.clone().into_iter().collect(),
            state: operation.state_name() as i32,
            done: operation.is_done(),
            revision: i64::try_from(operation.life.revision.0).unwrap_or_default(),
            create_time: time(operation.submission.created_at),
            update_time: time(operation.life.updated_at),
            ..Default::default()
        };
        if let State::Done {
            outcome: Outcome::Failed { error: it } | Outcome::Cancelled { error: it },
            ..
        } = &operation.life.state
        {
            encoded.error = Some(error(it));
        }
        encoded
    }

    pub fn event(entry: HistoryEntry) -> v1::Event {
        match entry {
            HistoryEntry::Transition(event) => v1::Event {
                r#type: event.event_type as i32,
                revision: i64::try_from(event.life.revision.0).unwrap_or_default(),
                state: event.state() as i32,
                ..Default::default()
            },
            HistoryEntry::Log(_) => v1::Event { r#type: 7, ..Default::default() },
        }
    }
}
