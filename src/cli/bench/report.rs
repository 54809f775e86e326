//! The report of a run: a line at intervals, and a summary at the end.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::output::Output;
use super::super::table::{Cell, Table};
use super::super::text::count;
use super::args::{Load, Watch};
use super::histogram::Latencies;
use super::tally::Measured;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Prints the load before the run.
pub(super) fn announce(url: &str, load: &Load, out: &Output) {
    let Load { payload, result, .. } = load;
    let clients = count(load.clients.into(), "client");
    let connections = count(load.connections.into(), "connection");
    let workers = count(load.workers.into(), "worker");
    let ends = match load.watch {
        Watch::Feed => "a WatchOperations stream tells of ends",
        Watch::Operation => "a WatchOperation stream each",
        Watch::Submit => "SubmitAndWatch: each submission is its watch",
        Watch::Wait => "a WaitOperation call each",
        Watch::None => "clients do not wait for ends",
    };
    let concurrency = load.concurrency();
    out.note(&format!(
        "{url}: {clients} on {connections}, {workers} × {concurrency}, {payload} B in, {result} B out; {ends}"
    ));
}

/// Prints the figures of the last interval.
pub(super) fn interval(at: Duration, measured: &Measured, out: &Output) -> anyhow::Result<()> {
    if out.is_json() {
        let mut record = json(measured);
        record["type"] = "interval".into();
        record["atSeconds"] = rounded(at.as_secs_f64());
        return out.record(&record);
    }
    let half = |latencies: &Latencies| {
        let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
        format!("{} / {} ms", millis(p50), millis(p99))
    };
    let mut line = format!(
        "{:>6.0} s  {:>8} submit/s ({})  {:>8} lives/s ({})",
        at.as_secs_f64(),
        thousands(measured.rate(&measured.submit)),
        half(&measured.submit),
        thousands(measured.rate(&measured.end)),
        half(&measured.end),
    );
    if measured.failed > 0 {
        line.push_str(&format!("  {} failed", measured.failed));
    }
    out.line(&line)
}

/// Prints the figures of the whole run.
pub(super) fn summary(
    load: &Load,
    measured: &Measured,
    failure: Option<String>,
    out: &Output,
) -> anyhow::Result<()> {
    if out.is_json() {
        let mut record = json(measured);
        record["type"] = "summary".into();
        record["clients"] = load.clients.into();
        record["connections"] = load.connections.into();
        record["workers"] = load.workers.into();
        record["payloadBytes"] = load.payload.into();
        record["resultBytes"] = load.result.into();
        record["rate"] = load.rate.into();
        record["firstFailure"] = failure.into();
        return out.record(&record);
    }
    let mut rates = Table::new(["", "PER SECOND", "IN ALL"], out.paint);
    let rate = |name: &str, latencies: &Latencies| {
        let count = latencies.count();
        [name.into(), thousands(measured.rate(latencies)).into(), thousands(count as f64).into()]
    };
    let mut rows = vec![rate("submit", &measured.submit)];
    if load.watch != Watch::None {
        rows.push(rate("lives", &measured.end));
    }
    out.line(&rates.block(rows))?;
    let mut table = Table::new(["ms", "MEAN", "P50", "P90", "P99", "P99.9", "MAX"], out.paint);
    let parts = [("submit", &measured.submit), ("push", &measured.push), ("end", &measured.end)];
    let rows = parts.into_iter().filter(|(_, latencies)| latencies.count() > 0).map(row).collect();
    out.line(&format!("\n{}", table.block(rows)))?;
    if measured.failed > 0 {
        let why = failure.unwrap_or_default();
        out.line(&format!("\n{} failed; the first: {why}", thousands(measured.failed as f64)))?;
    }
    out.line(&format!("\nmeasured over {:.1} s", measured.time.as_secs_f64()))
}

fn row((name, latencies): (&str, &Latencies)) -> [Cell; 7] {
    let [p50, p90, p99, p999] = QUANTILES.map(|(_, share)| millis(latencies.quantile(share)));
    let (mean, max) = (millis(latencies.mean()), millis(latencies.max()));
    [name.to_owned(), mean, p50, p90, p99, p999, max].map(Cell::from)
}

fn json(measured: &Measured) -> Value {
    json!({
        "seconds": rounded(measured.time.as_secs_f64()),
        "submits": measured.submit.count(),
        "submitsPerSecond": rounded(measured.rate(&measured.submit)),
        "lives": measured.end.count(),
        "livesPerSecond": rounded(measured.rate(&measured.end)),
        "failed": measured.failed,
        "latencyMs": {
            "submit": latencies(&measured.submit),
            "push": latencies(&measured.push),
            "end": latencies(&measured.end),
        },
    })
}

/// `null` where there are none.
fn latencies(latencies: &Latencies) -> Value {
    if latencies.count() == 0 {
        return Value::Null;
    }
    let ms = |latency: Duration| rounded(latency.as_secs_f64() * 1e3);
    let mut all = json!({ "mean": ms(latencies.mean()), "max": ms(latencies.max()) });
    for (name, share) in QUANTILES {
        all[name] = ms(latencies.quantile(share));
    }
    all
}

fn rounded(number: f64) -> Value {
    ((number * 1e3).round() / 1e3).into()
}

fn millis(latency: Duration) -> String {
    let ms = latency.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.1}") }
}

/// `12,345`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_read_in_groups() {
        for (number, text) in
            [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
    }
}
