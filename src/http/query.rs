//! Query parameters in snake_case or camelCase; unknown ones are refused.

use std::time::Duration;

use http::Uri;

use crate::operation::query;
use crate::service::{ServiceError, Violations};
use crate::time_text::{NotATime, parse_duration, parse_time};

/// The query parameters that no handler has read yet, and the violations found so far.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    left: Vec<(String, String)>,
    found: Violations,
}

impl Parameters {
    /// All parameters, in their order.
    pub(super) fn parse(uri: &Uri) -> Self {
        let mut found = Violations::default();
        let pairs = pairs(uri).filter_map(|pair| found.take(pair));
        let left = pairs.map(|(name, value)| (snake_case(&name), value)).collect();
        Self { left, found }
    }

    /// Ignores Google's parameters for all methods, such as `$alt=json`.
    pub(super) fn without_system_parameters(mut self) -> Self {
        self.left.retain(|(name, _)| !name.starts_with('$'));
        self
    }

    /// Every value of `name`.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        self.left.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The only value of `name`; `None` if there is none or it is wrong, as for all methods below.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let mut values = self.take_all(name).into_iter();
        let value = values.next()?;
        if values.next().is_some() {
            self.note(name, "must be given once");
            return None;
        }
        Some(value)
    }

    /// The one value of `name`, a whole number.
    pub(super) fn take_number(&mut self, name: &str) -> Option<i32> {
        let rule = format!("must be a whole number of at most {}", i32::MAX);
        self.take_as(name, &rule, |text| text.parse().ok())
    }

    /// The one value of `name`, a number.
    pub(super) fn take_real(&mut self, name: &str) -> Option<f64> {
        let read = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        self.take_as(name, "must be a number", read)
    }

    /// The one value of `name`, true or false.
    pub(super) fn take_flag(&mut self, name: &str) -> Option<bool> {
        self.take_as(name, "must be true or false", |text| text.parse().ok())
    }

    /// The one value of `name`, a duration.
    pub(super) fn take_duration(&mut self, name: &str) -> Option<Duration> {
        let read = parse_duration(&self.take(name)?);
        read.map_err(|rule| self.note(name, rule.to_string())).ok()
    }

    /// The one value of `name`, a point in time.
    pub(super) fn take_moment(&mut self, name: &str) -> Option<prost_types::Timestamp> {
        let (seconds, nanos) =
            self.take_as(name, &NotATime.to_string(), |text| parse_time(text).ok())?;
        Some(prost_types::Timestamp { seconds, nanos })
    }

    /// The one value of `name`, a duration, as a message.
    pub(super) fn take_time(&mut self, name: &str) -> Option<prost_types::Duration> {
        let time = self.take_duration(name)?.try_into();
        time.map_err(|_| self.note(name, "is too long")).ok()
    }

    /// The only value of `name`, parsed by `read`; `rule` is the violation otherwise.
    pub(super) fn take_as<T>(
        &mut self,
        name: &str,
        rule: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let read = read(&self.take(name)?);
        if read.is_none() {
            self.note(name, rule);
        }
        read
    }

    /// Notes that the parameter breaks a rule.
    pub(super) fn note(&mut self, name: &str, rule: impl Into<String>) {
        self.found.note(name, rule);
    }

    /// Refuses parameters with other names, so that a misspelt parameter is not ignored.
    pub(super) fn only<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) {
        let is_unknown = |key: &str| !names.clone().any(|name| name == key);
        for (name, _) in self.left.extract_if(.., |(key, _)| is_unknown(key)) {
            unknown_parameter(&name, &mut self.found);
        }
    }

    /// All violations, including unknown parameters that are left.
    pub(super) fn finish(mut self) -> Violations {
        for (name, _) in self.left {
            unknown_parameter(&name, &mut self.found);
        }
        self.found
    }
}

fn unknown_parameter(name: &str, found: &mut Violations) {
    let shown: String = name.chars().take(64).collect();
    found.note(shown, "is not a parameter of this resource");
}

/// The parameters of a URL, decoded, in their order.
pub(super) fn pairs(uri: &Uri) -> impl Iterator<Item = Result<(String, String), ServiceError>> {
    query::pairs(uri.query().unwrap_or_default()).map(|pair| {
        let rule = "must be UTF-8, percent-encoded";
        let name = pair.name.ok_or_else(|| ServiceError::invalid_field("query", rule))?;
        match pair.value {
            Some(value) => Ok((name, value)),
            None => Err(ServiceError::invalid_field(name, rule)),
        }
    })
}

/// Whether the query has `$alt`, which Google's client libraries add to each request. No parameter of this interface
/// begins with `$`.
pub(super) fn is_of_google(uri: &Uri) -> bool {
    let mut pairs = query::pairs(uri.query().unwrap_or_default());
    pairs.any(|pair| pair.name.as_deref() == Some("$alt"))
}

/// Converts `pageToken` to `page_token`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::parse(&format!("/x?{query}").parse().unwrap())
    }

    #[test]
    fn system_parameters_can_be_left_out() {
        let given = parameters("$alt=json%3Benum-encoding%3Dint&%24.xgafv=1&filter=a");
        let mut given = given.without_system_parameters();
        assert_eq!(given.take("filter").as_deref(), Some("a"));
        given.finish().check().unwrap();
    }

    #[test]
    fn parameters_are_known_by_either_spelling_given_once_and_used_up() {
        let mut given = parameters("pageToken=a%20b&page_size=7&label=a&label=b&skipCurrent=true");
        assert_eq!(given.take("page_token").as_deref(), Some("a b"));
        assert_eq!(given.take_number("page_size"), Some(7));
        assert_eq!(given.take_all("label"), ["a", "b"]);
        assert_eq!(given.take("filter"), None);
        assert_eq!(given.take_flag("skip_current"), Some(true));
        given.finish().check().unwrap();

        let mut given = parameters("&filter=50%25+%C3%a4%zz%&&view&=x&");
        assert_eq!(given.take("filter").as_deref(), Some("50% ä%zz%"));
        assert_eq!(given.take("view").as_deref(), Some(""));
        assert_eq!(given.take("").as_deref(), Some("x"));
        given.finish().check().unwrap();
        for (query, field) in [("label=u=%ff", "label"), ("a=b&%c3=x", "query")] {
            let uri = format!("/x?{query}").parse().unwrap();
            let refused = Parameters::parse(&uri).finish().check().unwrap_err();
            assert_eq!(refused.violations[0].field, field);
        }

        let mut given = parameters("wait=1&wait=2&pageSize=x&piority=3&skip_current=1&b=%ff");
        assert_eq!(given.take("wait"), None);
        assert_eq!(given.take_number("page_size"), None);
        assert_eq!(given.take_flag("skip_current"), None);
        let refused = given.finish().check().unwrap_err();
        let fields: Vec<&str> = refused.violations.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["b", "wait", "page_size", "skip_current", "piority"], "all at once");
    }
}
