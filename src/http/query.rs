//! Query parameters: each known by its name, in snake_case or camelCase, or refused.

use std::time::Duration;

use http::Uri;

use crate::operation::query;
use crate::service::ServiceError;

/// The parameters of a request that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// All parameters, in their order.
    pub(super) fn parse(uri: &Uri) -> Result<Self, ServiceError> {
        let pairs = pairs(uri)?.into_iter();
        Ok(Self(pairs.map(|(name, value)| (snake_case(&name), value)).collect()))
    }

    /// Leaves out the parameters of Google's that concern every method, such as `$alt=json`.
    pub(super) fn without_system_parameters(mut self) -> Self {
        self.0.retain(|(name, _)| !name.starts_with('$'));
        self
    }

    /// Every value of `name`.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The one value of `name`.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, ServiceError> {
        let mut values = self.take_all(name).into_iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(ServiceError::invalid_field(name, "must be given once")),
        }
    }

    /// The one value of `name`, a whole number.
    pub(super) fn take_number(&mut self, name: &str) -> Result<Option<i32>, ServiceError> {
        let number = self.take(name)?.map(|value| value.parse());
        number.transpose().map_err(|_| ServiceError::invalid_field(name, "must be a whole number"))
    }

    /// The one value of `name`, a number.
    pub(super) fn take_real(&mut self, name: &str) -> Result<Option<f64>, ServiceError> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| ServiceError::invalid_field(name, "must be a number"))
    }

    /// The one value of `name`, true or false.
    pub(super) fn take_flag(&mut self, name: &str) -> Result<Option<bool>, ServiceError> {
        let flag = self.take(name)?.map(|value| value.parse());
        flag.transpose().map_err(|_| ServiceError::invalid_field(name, "must be true or false"))
    }

    /// The one value of `name`, a duration.
    pub(super) fn take_duration(&mut self, name: &str) -> Result<Option<Duration>, ServiceError> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let rule = "must be a number of seconds, or a number with one of the units ms, s, m, h, d";
        duration(&text).map(Some).ok_or_else(|| ServiceError::invalid_field(name, rule))
    }

    /// Refuses what has none of these names: a misspelt parameter must not pass for none.
    pub(super) fn only<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), ServiceError> {
        let mut unknown = self.0.iter().filter(|(key, _)| !names.clone().any(|name| name == key));
        unknown.next().map_or(Ok(()), |(name, _)| Err(unknown_parameter(name)))
    }

    /// Refuses what is left, because it is of no use with the rest of the request.
    pub(super) fn finish(self) -> Result<(), ServiceError> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(unknown_parameter(name)))
    }
}

fn unknown_parameter(name: &str) -> ServiceError {
    let shown: String = name.chars().take(64).collect();
    ServiceError::invalid_field(shown, "is not a parameter of this resource")
}

/// The parameters of a URL, decoded, in their order.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, ServiceError> {
    let pairs = query::pairs(uri.query().unwrap_or_default()).map(|pair| {
        let rule = "must be UTF-8, percent-encoded";
        let name = pair.name.ok_or_else(|| ServiceError::invalid_field("query", rule))?;
        match pair.value {
            Some(value) => Ok((name, value)),
            None => Err(ServiceError::invalid_field(name, rule)),
        }
    });
    pairs.collect()
}

/// Whether the query has `$alt`, which Google's client libraries put into each request, and no parameter of this
/// interface's own begins with `$`.
pub(super) fn is_of_google(uri: &Uri) -> bool {
    let mut pairs = query::pairs(uri.query().unwrap_or_default());
    pairs.any(|pair| pair.name.as_deref() == Some("$alt"))
}

/// `pageToken` as `page_token`.
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

/// `30`, `30s`, `1.5s`, `250ms`, `2m`, `1h`, `7d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_usual_units() {
        let cases = [
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("1.5s", Some(1_500)),
            ("250ms", Some(250)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("7d", Some(604_800_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1e9", None),
            ("1.2.3", None),
            ("5 s", None),
            ("5weeks", None),
            ("999999999999999999999999999999", None),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    fn parameters(query: &str) -> Parameters {
        Parameters::parse(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn system_parameters_can_be_left_out() {
        let given = parameters("$alt=json%3Benum-encoding%3Dint&%24.xgafv=1&filter=a");
        let mut given = given.without_system_parameters();
        assert_eq!(given.take("filter").unwrap().as_deref(), Some("a"));
        given.finish().unwrap();
    }

    #[test]
    fn parameters_are_known_by_either_spelling_given_once_and_used_up() {
        let mut given = parameters("pageToken=a%20b&page_size=7&label=a&label=b&skipCurrent=true");
        assert_eq!(given.take("page_token").unwrap().as_deref(), Some("a b"));
        assert_eq!(given.take_number("page_size").unwrap(), Some(7));
        assert_eq!(given.take_all("label"), ["a", "b"]);
        assert_eq!(given.take("filter").unwrap(), None);
        assert_eq!(given.take_flag("skip_current").unwrap(), Some(true));
        given.finish().unwrap();

        let mut given = parameters("&filter=50%25+%C3%a4%zz%&&view&=x&");
        assert_eq!(given.take("filter").unwrap().as_deref(), Some("50% ä%zz%"));
        assert_eq!(given.take("view").unwrap().as_deref(), Some(""));
        assert_eq!(given.take("").unwrap().as_deref(), Some("x"));
        given.finish().unwrap();
        for (query, field) in [("label=u=%ff", "label"), ("a=b&%c3=x", "query")] {
            let uri = format!("/x?{query}").parse().unwrap();
            assert_eq!(Parameters::parse(&uri).unwrap_err().violations[0].field, field);
        }

        assert!(parameters("wait=1&wait=2").take("wait").is_err());
        assert!(parameters("pageSize=x").take_number("page_size").is_err());
        assert!(parameters("skip_current=1").take_flag("skip_current").is_err());
        let left = parameters("piority=3").finish().unwrap_err();
        assert_eq!(left.violations[0].field, "piority");
    }
}
