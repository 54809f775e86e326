//! Several submissions of one call, both ways: each by itself, or a batch with its children.

use prost::Message as _;

use super::decode::{self, labels, name};
use super::{encode, settings};
use crate::operation::batch::{MOST, RuleName};
use crate::operation::{BatchRule, CallbackUrl, IdempotencyKey, Kind, NewOperation, Settings};
use crate::proto::v1::{self, batch::Rule};
use crate::service::{Budget, Limits, ManySubmissions, ManySubmitted, ServiceError, Violations};

/// The submissions of a call. Without a batch, each can be refused by itself; with one, only all together.
pub fn read(
    request: v1::SubmitBatchRequest,
    limits: &Limits,
) -> Result<ManySubmissions, ServiceError> {
    let v1::SubmitBatchRequest { requests, batch } = request;
    let requests = requests.into_iter().enumerate();
    let one = |(at, new): (usize, v1::SubmitRequest), found: &mut Violations| {
        decode::new_operation(new, &format!("requests[{at}]."), limits, found)
    };
    let Some(batch) = batch else {
        let items = requests.map(|new| {
            let mut found = Violations::default();
            let new = one(new, &mut found);
            found.settle(new)
        });
        return Ok(ManySubmissions::Each(items.collect()));
    };
    let mut found = Violations::default();
    let batch = new_batch(batch, limits, &mut found);
    // All are decoded, so that the violations of each are noted.
    let children: Vec<Option<NewOperation>> = requests.map(|new| one(new, &mut found)).collect();
    let children: Option<Vec<NewOperation>> = children.into_iter().collect();
    let ((batch, rule), children) = found.settle(batch.zip(children))?;
    Ok(ManySubmissions::Batch { batch: Box::new(batch), rule, children })
}

/// The outcome of the submissions. Results beyond `most` bytes are abridged.
pub fn response(stored: &ManySubmitted, most: usize) -> v1::SubmitBatchResponse {
    let mut budget = Budget::new(most);
    let batch = stored.batch.as_ref().map(|batch| encode::operation(&batch.document));
    let results = stored.results.iter().map(|answer| {
        let whole = encode::batch_result(answer);
        if budget.take(whole.encoded_len()) { whole } else { encode::abridged(whole) }
    });
    v1::SubmitBatchResponse { results: results.collect(), batch }
}

/// A batch with its rule, unless it has violations.
fn new_batch(
    message: v1::Batch,
    limits: &Limits,
    violations: &mut Violations,
) -> Option<(NewOperation, BatchRule)> {
    let path = "batch.";
    let rule = rule(&message, violations);
    let labels = labels(message.labels, path, violations);
    let key = match message.idempotency_key.as_str() {
        "" => None,
        key => name(IdempotencyKey::parse(key), path, "idempotency_key", violations),
    };
    let callback = match message.callback_url.as_str() {
        "" => None,
        url => CallbackUrl::parse(url)
            .map_err(|refused| violations.note("batch.callback_url", refused.to_string()))
            .ok(),
    };
    let keeps_default = message.retention.is_none();
    let retention = settings::retention(message.retention, path, violations);
    let kind = name(Kind::of_batches(), path, "kind", violations)?;
    let new = NewOperation::of_batch(kind, rule);
    let settings = Settings { retention, ..new.settings.clone() };
    let configured = keeps_default
        .then(|| Box::new(Settings { retention: limits.default_retention, ..settings.clone() }));
    let new = NewOperation { labels, settings, configured, idempotency_key: key, callback, ..new };
    Some((new, rule))
}

fn rule(message: &v1::Batch, violations: &mut Violations) -> BatchRule {
    let mut count = |field: &str, given: i64| match u64::try_from(given) {
        Ok(count) if count <= MOST => count,
        _ => {
            violations.note(field, "must be from 0 to 10,000,000");
            0
        }
    };
    let max_failures = count("batch.max_failures", message.max_failures);
    let expected_children = count("batch.expected_children", message.expected_children);
    let name = match Rule::try_from(message.rule) {
        Ok(Rule::Unspecified | Rule::All) => RuleName::All,
        Ok(Rule::Any) => RuleName::Any,
        Ok(Rule::MaxFailures) => RuleName::MaxFailures,
        Err(_) => {
            violations.note("batch.rule", "must be a known rule");
            RuleName::All
        }
    };
    if max_failures > 0 && name != RuleName::MaxFailures {
        let rule = format!("must be 0 for the rule {name}: it is for MAX_FAILURES");
        violations.note("batch.max_failures", rule);
    }
    BatchRule { name, max_failures, expected_children }
}
