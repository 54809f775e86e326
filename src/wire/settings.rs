//! Settings of a submission, both ways: defaults filled in, limits checked.

use std::time::Duration;

use super::time::{decode_duration, encode_duration};
use crate::operation::{Range, RetryPolicy, Setting, Settings};
use crate::proto::v1;
use crate::service::Violations;

/// The settings of a submission, with defaults.
pub(super) fn decode(
    message: Option<v1::Settings>,
    path: &str,
    violations: &mut Violations,
) -> Settings {
    let default = Settings::default();
    let Some(message) = message else { return default };
    let mut check = Check { path, violations };
    Settings {
        priority: check.number("priority", message.priority) as u8,
        queue_timeout: check.time("queue_timeout", message.queue_timeout),
        attempt_timeout: check.time("attempt_timeout", message.attempt_timeout),
        deadline: check.time("deadline", message.deadline),
        cancel_grace: check
            .time("cancel_grace", message.cancel_grace)
            .unwrap_or(default.cancel_grace),
        retention: check.time("retention", message.retention).unwrap_or(default.retention),
        retry_policy: match message.retry_policy {
            Some(policy) => retry_policy(policy, &mut check),
            None => default.retry_policy,
        },
    }
}

/// The retention given separately, or the default one.
pub(super) fn retention(
    given: Option<prost_types::Duration>,
    path: &str,
    violations: &mut Violations,
) -> Duration {
    let default = Settings::default().retention;
    let Some(Range::Time(least, most)) = range("retention").filter(|_| given.is_some()) else {
        return default;
    };
    let given = given.as_ref().and_then(decode_duration);
    given.filter(|given| (least..=most).contains(given)).unwrap_or_else(|| {
        let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
        let rule = format!("must be a valid duration from {least} s to {most} s");
        violations.note(format!("{path}retention"), rule);
        default
    })
}

fn retry_policy(message: v1::RetryPolicy, check: &mut Check<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let max_attempts = match message.max_attempts {
        0 => default.max_attempts,
        given => check.number("retry_policy.max_attempts", given).cast_unsigned(),
    };
    let multiplier = match message.multiplier {
        0.0 => default.multiplier,
        given => check.real("retry_policy.multiplier", given),
    };
    RetryPolicy {
        max_attempts,
        multiplier,
        initial_backoff: check
            .time("retry_policy.initial_backoff", message.initial_backoff)
            .unwrap_or(default.initial_backoff),
        max_backoff: check
            .time("retry_policy.max_backoff", message.max_backoff)
            .unwrap_or(default.max_backoff),
        jitter: message
            .jitter
            .map_or(default.jitter, |given| check.real("retry_policy.jitter", given)),
    }
}

/// Checks values and notes every violation.
struct Check<'a> {
    path: &'a str,
    violations: &'a mut Violations,
}

impl Check<'_> {
    fn note(&mut self, field: &str, rule: String) {
        self.violations.note(format!("{}settings.{field}", self.path), rule);
    }

    fn number(&mut self, field: &str, given: i32) -> i32 {
        let Some(Range::Whole(least, most)) = range(field) else { return given };
        if !(least..=most).contains(&given) {
            self.note(field, format!("must be from {least} to {most}"));
        }
        given.clamp(least, most)
    }

    fn real(&mut self, field: &str, given: f64) -> f64 {
        match range(field) {
            Some(Range::Real(least, most)) if !(least..=most).contains(&given) => {
                self.note(field, format!("must be from {least} to {most}"));
                least
            }
            _ => given,
        }
    }

    fn time(&mut self, field: &str, given: Option<prost_types::Duration>) -> Option<Duration> {
        let time = decode_duration(&given?);
        let Some(Range::Time(least, most)) = range(field) else { return time };
        let time = time.filter(|time| (least..=most).contains(time));
        if time.is_none() {
            let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
            self.note(field, format!("must be a valid duration from {least} s to {most} s"));
        }
        time
    }
}

fn range(path: &str) -> Option<Range> {
    Setting::at(path).map(|setting| setting.range)
}

/// The settings as a message.
pub(super) fn encode(settings: &Settings) -> v1::Settings {
    let policy = &settings.retry_policy;
    v1::Settings {
        priority: i32::from(settings.priority),
        queue_timeout: settings.queue_timeout.map(encode_duration),
        attempt_timeout: settings.attempt_timeout.map(encode_duration),
        deadline: settings.deadline.map(encode_duration),
        retry_policy: Some(v1::RetryPolicy {
            max_attempts: policy.max_attempts.cast_signed(),
            initial_backoff: Some(encode_duration(policy.initial_backoff)),
            multiplier: policy.multiplier,
            max_backoff: Some(encode_duration(policy.max_backoff)),
            jitter: Some(policy.jitter),
        }),
        cancel_grace: Some(encode_duration(settings.cancel_grace)),
        retention: Some(encode_duration(settings.retention)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Kind, NewOperation};
    use crate::proto::json;
    use crate::proto::schema::{Side, schemas};
    use crate::service::Violation;
    use crate::time_text::parse_duration;

    /// Decodes settings with one value given; returns the violations too.
    fn given(path: &str, text: &str) -> (Settings, Vec<Violation>) {
        let value = serde_json::from_str(text).unwrap();
        let settings = json::from_fields([(path, value)]).unwrap();
        let mut found = Violations::default();
        let settings = decode(Some(settings), "", &mut found);
        (settings, found.check().err().map(|error| error.violations).unwrap_or_default())
    }

    fn refused(path: &str, text: &str) -> Vec<Violation> {
        given(path, text).1
    }

    /// The setting's value as clients see it; times in seconds.
    fn told(settings: &Settings, Setting { path, .. }: &Setting) -> Option<f64> {
        let document = json::to_value(&encode(settings)).unwrap();
        let pointer = format!("/{}", json::camel_case(path).replace('.', "/"));
        let value = document.pointer(&pointer)?;
        let text = value.as_str().map(|text| text.trim_end_matches('s'));
        Some(text.map_or_else(|| value.as_f64().unwrap(), |text| text.parse().unwrap()))
    }

    #[test]
    fn defaults_are_as_they_are_declared() {
        for setting in Settings::ALL {
            let word = setting.default.rsplit(' ').next().unwrap();
            let expected = match setting.range {
                Range::Time(..) => parse_duration(word).ok().map(|it| it.as_secs_f64()),
                Range::Whole(..) | Range::Real(..) => word.parse().ok(),
            };
            // Zero is the proto's default and is not encoded.
            let zero = Some(0.0).filter(|_| matches!(setting.range, Range::Whole(..)));
            let told = told(&Settings::default(), setting).or(zero);
            assert_eq!(told, expected, "{}", setting.path);
        }
    }

    #[test]
    fn no_setting_is_lost() {
        let fingerprint = |settings: &Settings| {
            let kind = Kind::parse("a").unwrap();
            NewOperation { settings: settings.clone(), ..NewOperation::of(kind) }.fingerprint()
        };
        for setting in Settings::ALL {
            let (most, text) = match setting.range {
                Range::Whole(_, most) => (f64::from(most), most.to_string()),
                Range::Real(_, most) => (most, most.to_string()),
                Range::Time(_, most) => (most.as_secs_f64(), format!("\"{}s\"", most.as_secs())),
            };
            let (settings, _) = given(setting.path, &text);
            assert_eq!(told(&settings, setting), Some(most), "{}", setting.path);
            // It must be a different submission.
            let by_default = fingerprint(&Settings::default());
            assert_ne!(fingerprint(&settings), by_default, "{}", setting.path);
        }
    }

    #[test]
    fn every_setting_of_the_proto_is_declared_and_held_to_its_range() {
        for Setting { path, range, .. } in Settings::ALL {
            let time =
                |time: Duration| format!("\"{}.{:09}s\"", time.as_secs(), time.subsec_nanos());
            let (least, most, beyond) = match range {
                Range::Whole(least, most) => {
                    (least.to_string(), most.to_string(), (most + 1).to_string())
                }
                Range::Real(least, most) => {
                    (least.to_string(), most.to_string(), (most + 0.5).to_string())
                }
                Range::Time(least, most) => {
                    (time(*least), time(*most), time(*most + Duration::from_nanos(1)))
                }
            };
            assert_eq!(refused(path, &least), [], "{path} {least}");
            assert_eq!(refused(path, &most), [], "{path} {most}");
            assert_eq!(
                refused(path, &beyond)[0].field,
                format!("settings.{path}"),
                "{path} {beyond}"
            );
        }
        let schemas = schemas(&["Settings"], Side::Read);
        let schemas = schemas.unwrap();
        let declared = Settings::ALL.iter().map(|setting| json::camel_case(setting.path));
        let mut declared: Vec<String> = declared.collect();
        declared.sort_unstable();
        let fields = |schema: &str| {
            schemas[schema]["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let known = fields("Settings").into_iter().filter(|field| field != "retryPolicy");
        let policy =
            fields("RetryPolicyInput").into_iter().map(|field| format!("retryPolicy.{field}"));
        let mut known: Vec<String> = known.chain(policy).collect();
        known.sort_unstable();
        assert_eq!(declared, known);
    }
}
