//! The collector of spans.

use clap::Args;

use crate::operation::trace::TRACE_ID;

/// Where spans are sent.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Traces")]
pub struct Tracing {
    /// Send spans of calls and attempts to this collector of OpenTelemetry, by OTLP over gRPC, e.g. http://localhost:4317;
    /// without it OTEL_EXPORTER_OTLP_ENDPOINT says where, and without both there are no spans; see docs/tracing.md
    #[arg(long, value_name = "URL", env = "LONGRUN_OTLP_ENDPOINT", value_parser = endpoint)]
    pub otlp_endpoint: Option<String>,
    /// URL of a trace in a viewer of traces, with {trace_id} in the place of its id, e.g.
    /// http://localhost:16686/trace/{trace_id}; pages link operations to it
    #[arg(long, value_name = "URL", env = "LONGRUN_TRACE_URL", value_parser = trace_url)]
    pub trace_url: Option<String>,
}

fn trace_url(text: &str) -> Result<String, String> {
    // Only a web address: pages link to it.
    let uri: Option<http::Uri> = text.replace(TRACE_ID, "0").parse().ok();
    let scheme = uri.as_ref().and_then(http::Uri::scheme_str);
    match scheme {
        Some("http" | "https") if text.contains(TRACE_ID) => Ok(text.to_owned()),
        _ => Err(format!(
            "must be a URL of http or https with {TRACE_ID}, e.g. http://localhost:16686/trace/{TRACE_ID}"
        )),
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let uri: Option<http::Uri> = text.parse().ok();
    let scheme = uri.as_ref().and_then(http::Uri::scheme_str);
    match scheme {
        Some("http" | "https") => Ok(text.to_owned()),
        _ => Err("must be a URL of http or https, e.g. http://localhost:4317".to_owned()),
    }
}

impl Tracing {
    /// The collector's endpoint: the flag's, else that of OpenTelemetry's variables, which `variable` reads.
    pub fn endpoint(&self, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        let said = |name| variable(name).filter(|value| !value.is_empty());
        let is_disabled =
            said("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let has_none = said("OTEL_TRACES_EXPORTER").is_some_and(|it| it == "none");
        if is_disabled || has_none {
            return None;
        }
        let standard = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        self.otlp_endpoint.clone().or_else(|| standard.into_iter().find_map(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_variables_of_opentelemetry() {
        let of = |flag: Option<&str>, variables: &[(&str, &str)]| {
            let tracing = Tracing { otlp_endpoint: flag.map(str::to_owned), trace_url: None };
            tracing.endpoint(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a");
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b");
        assert_eq!(of(None, &[]), None);
        assert_eq!(of(None, &[general]).as_deref(), Some("http://a"));
        assert_eq!(of(None, &[general, of_traces]).as_deref(), Some("http://b"));
        assert_eq!(of(Some("http://c"), &[general, of_traces]).as_deref(), Some("http://c"));
        assert_eq!(of(Some("http://c"), &[("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(of(None, &[general, ("OTEL_TRACES_EXPORTER", "none")]), None);
    }

    #[test]
    fn a_link_to_a_trace_names_the_place_of_its_id() {
        for good in ["http://j:16686/trace/{trace_id}", "https://g/explore?trace={trace_id}&x=1"] {
            assert_eq!(trace_url(good).as_deref(), Ok(good));
        }
        for wrong in ["http://j/trace/", "javascript:alert({trace_id})", "/trace/{trace_id}", ""] {
            assert!(trace_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url() {
        assert!(endpoint("http://localhost:4317").is_ok());
        for wrong in ["localhost:4317", "ftp://a", "", "/x"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
