//! The values of one scrape, and their text.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::registry::{Registry, Unit};

use super::table::Metric;
use super::values::Reading;

/// The text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format 0.0.4, which every reader supports.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The first format in an `Accept` field that it does not refuse (`q=0`); Prometheus's if it names none.
    pub fn accepted(accept: &str) -> Self {
        let accept = accept.to_ascii_lowercase();
        let first = accept.split(',').find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next()? {
                "application/openmetrics-text" => Self::OpenMetrics,
                "text/plain" => Self::Prometheus,
                _ => return None,
            };
            let quality = parts.find_map(|it| it.strip_prefix("q=")?.trim().parse::<f32>().ok());
            quality.is_none_or(|quality| quality > 0.0).then_some(format)
        });
        first.unwrap_or(Self::Prometheus)
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One value with its labels.
#[derive(Clone, Debug)]
enum Value {
    Count(u64),
    Number(f64),
    Spread(Reading),
}

/// Values of all metrics at a moment.
#[derive(Clone, Debug, Default)]
pub struct Scrape(Vec<(Metric, Vec<String>, Value)>);

impl Scrape {
    /// Adds a count, with the values of the metric's labels.
    pub fn count(&mut self, metric: Metric, labels: &[&str], count: u64) {
        self.add(metric, labels, Value::Count(count));
    }

    /// Adds a number.
    pub fn number(&mut self, metric: Metric, labels: &[&str], number: f64) {
        self.add(metric, labels, Value::Number(number));
    }

    /// Adds a histogram.
    pub fn spread(&mut self, metric: Metric, labels: &[&str], reading: Reading) {
        self.add(metric, labels, Value::Spread(reading));
    }

    fn add(&mut self, metric: Metric, labels: &[&str], value: Value) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.push((metric, labels, value));
    }

    /// Writes the text.
    pub fn write(mut self, format: Format) -> Result<String, fmt::Error> {
        self.0.sort_by_key(|(metric, ..)| *metric);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut written, &registry)?,
            Format::OpenMetrics => text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for values in self.0.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((metric, ..)) = values.first() else { continue };
            let (name, unit) = metric.parts();
            let unit = unit.map(|unit| Unit::Other(unit.to_owned()));
            let (about, kind) = (metric.about(), metric.kind());
            let mut encoder = encoder.encode_descriptor(name, about, unit.as_ref(), kind)?;
            for (_, labels, value) in values {
                let labels: Vec<_> = metric
                    .labels()
                    .iter()
                    .copied()
                    .zip(labels.iter().map(String::as_str))
                    .collect();
                match labels.as_slice() {
                    [] => value.encode(&mut encoder, *metric)?,
                    labels => value.encode(&mut encoder.encode_family(&labels)?, *metric)?,
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>, metric: Metric) -> Result<(), fmt::Error> {
        use prometheus_client::metrics::MetricType::Counter;
        let is_counter = metric.kind().as_str() == Counter.as_str();
        match self {
            Self::Count(count) if is_counter => {
                encoder.encode_counter::<NoLabelSet, u64, f64>(count, None)
            }
            Self::Number(number) if is_counter => {
                encoder.encode_counter::<NoLabelSet, f64, f64>(number, None)
            }
            Self::Count(count) => encoder.encode_gauge(count),
            Self::Number(number) => encoder.encode_gauge(number),
            Self::Spread(reading) => encoder.encode_histogram::<NoLabelSet>(
                reading.sum,
                reading.count(),
                &reading.buckets,
                None,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn both_formats_are_written_as_their_readers_want_them() {
        let mut scrape = Scrape::default();
        let histogram = Histogram::of_durations(&[1_000_000]);
        histogram.add(500_000);
        scrape.number(Metric::ProcessCpu, &[], 1.5);
        scrape.spread(Metric::QueueDuration, &["a"], histogram.read());
        scrape.count(Metric::Submissions, &["a"], 1);
        scrape.count(Metric::Submissions, &["b"], 2);
        let plain = scrape.clone().write(Format::Prometheus).unwrap();
        let expected = "\
# HELP longrun_submissions_total Operations that were submitted.
# TYPE longrun_submissions_total counter
longrun_submissions_total{kind=\"a\"} 1
longrun_submissions_total{kind=\"b\"} 2
";
        assert!(plain.starts_with(expected), "{plain}");
        for line in [
            "# TYPE longrun_queue_duration_seconds histogram\n",
            "longrun_queue_duration_seconds_bucket{kind=\"a\",le=\"1\"} 1\n",
            "longrun_queue_duration_seconds_bucket{kind=\"a\",le=\"+Inf\"} 1\n",
            "longrun_queue_duration_seconds_sum{kind=\"a\"} 0.5\n",
            "process_cpu_seconds_total 1.5\n",
        ] {
            assert!(plain.contains(line), "{line} in {plain}");
        }
        let open = scrape.write(Format::OpenMetrics).unwrap();
        for line in ["# TYPE longrun_submissions counter\n", "# UNIT process_cpu_seconds seconds\n"]
        {
            assert!(open.contains(line), "{line} in {open}");
        }
        assert!(open.ends_with("# EOF\n"));
    }

    #[test]
    fn the_format_is_what_is_accepted_first() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        let refused = "application/openmetrics-text; q=0, */*";
        let plain_first = "text/html,text/plain,application/openmetrics-text";
        for other in ["", "*/*", "text/plain", plain_first, refused] {
            assert_eq!(Format::accepted(other), Format::Prometheus, "{other}");
        }
    }
}
