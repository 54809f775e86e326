//! Settings of a submission, both ways: defaults filled in, limits checked.

use std::time::Duration;

use super::decode::duration;
use super::encode;
use crate::operation::{RetryPolicy, Settings};
use crate::proto::v1;
use crate::service::Violation;

/// The settings that a submission asks for.
pub(super) fn decode(
    message: Option<v1::Settings>,
    path: &str,
    default_retention: Duration,
    violations: &mut Vec<Violation>,
) -> Settings {
    let default = Settings { retention: default_retention, ..Settings::default() };
    let Some(message) = message else { return default };
    let mut check = Check { path, violations };
    let most = Settings::MAX_DURATION;
    let limit = Settings::MIN_TIMEOUT..=most;
    Settings {
        priority: check.number("priority", message.priority, 0, i32::from(Settings::MAX_PRIORITY))
            as u8,
        queue_timeout: check.time("queue_timeout", message.queue_timeout, limit.clone()),
        attempt_timeout: check.time("attempt_timeout", message.attempt_timeout, limit.clone()),
        deadline: check.time("deadline", message.deadline, limit),
        cancel_grace: check
            .time("cancel_grace", message.cancel_grace, Duration::ZERO..=Settings::MAX_CANCEL_GRACE)
            .unwrap_or(default.cancel_grace),
        retention: check
            .time("retention", message.retention, Duration::ZERO..=most)
            .unwrap_or(default.retention),
        retry_policy: match message.retry_policy {
            Some(policy) => retry_policy(policy, &mut check),
            None => default.retry_policy,
        },
    }
}

fn retry_policy(message: v1::RetryPolicy, check: &mut Check<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let backoff = Duration::ZERO..=Settings::MAX_BACKOFF;
    let max_attempts = match message.max_attempts {
        0 => default.max_attempts,
        given => {
            let most = Settings::MAX_ATTEMPTS.cast_signed();
            check.number("retry_policy.max_attempts", given, 1, most).cast_unsigned()
        }
    };
    let multiplier = match message.multiplier {
        0.0 => default.multiplier,
        given => check.real("retry_policy.multiplier", given, 1.0, Settings::MAX_MULTIPLIER),
    };
    RetryPolicy {
        max_attempts,
        multiplier,
        initial_backoff: check
            .time("retry_policy.initial_backoff", message.initial_backoff, backoff.clone())
            .unwrap_or(default.initial_backoff),
        max_backoff: check
            .time("retry_policy.max_backoff", message.max_backoff, backoff)
            .unwrap_or(default.max_backoff),
        jitter: message
            .jitter
            .map_or(default.jitter, |given| check.real("retry_policy.jitter", given, 0.0, 1.0)),
    }
}

/// Notes what breaks a rule, and goes on.
struct Check<'a> {
    path: &'a str,
    violations: &'a mut Vec<Violation>,
}

impl Check<'_> {
    fn note(&mut self, field: &str, rule: String) {
        self.violations.push(Violation::new(format!("{}settings.{field}", self.path), rule));
    }

    fn number(&mut self, field: &str, given: i32, least: i32, most: i32) -> i32 {
        if !(least..=most).contains(&given) {
            self.note(field, format!("must be from {least} to {most}"));
        }
        given.clamp(least, most)
    }

    fn real(&mut self, field: &str, given: f64, least: f64, most: f64) -> f64 {
        if (least..=most).contains(&given) {
            return given;
        }
        self.note(field, format!("must be from {least} to {most}"));
        least
    }

    fn time(
        &mut self,
        field: &str,
        given: Option<prost_types::Duration>,
        range: std::ops::RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let given = given?;
        let time = duration(&given).filter(|time| range.contains(time));
        if time.is_none() {
            let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
            self.note(field, format!("must be a valid duration from {least} s to {most} s"));
        }
        time
    }
}

/// The settings as a message.
pub(super) fn encode(settings: &Settings) -> v1::Settings {
    let policy = &settings.retry_policy;
    v1::Settings {
        priority: i32::from(settings.priority),
        queue_timeout: settings.queue_timeout.map(encode::duration),
        attempt_timeout: settings.attempt_timeout.map(encode::duration),
        deadline: settings.deadline.map(encode::duration),
        retry_policy: Some(v1::RetryPolicy {
            max_attempts: policy.max_attempts.cast_signed(),
            initial_backoff: Some(encode::duration(policy.initial_backoff)),
            multiplier: policy.multiplier,
            max_backoff: Some(encode::duration(policy.max_backoff)),
            jitter: Some(policy.jitter),
        }),
        cancel_grace: Some(encode::duration(settings.cancel_grace)),
        retention: Some(encode::duration(settings.retention)),
    }
}
