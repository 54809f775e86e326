//! Medians, ratios, and lines that stand under each other.

use crate::processes::Round;

/// The median of what `of` says of each.
pub(crate) fn median<T>(all: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median round, figure by figure.
pub(crate) fn medians(rounds: &[Round]) -> Round {
    Round {
        rate: median(rounds, |round| round.rate),
        p50: median(rounds, |round| round.p50),
        p99: median(rounds, |round| round.p99),
        server_cpu: median(rounds, |round| round.server_cpu),
        client_cpu: median(rounds, |round| round.client_cpu),
        report: serde_json::Value::Null,
    }
}

/// A line of a table of rounds. `goal` is said of the ratio, where there is one.
pub(crate) fn round(name: &str, round: &Round, ratio: Option<f64>, note: &str) {
    let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    println!(
        "  {name:<38} {:>8.0} {:>9.2} {:>9.2} {:>8.0} {:>8.0} {ratio:>7}  {note}",
        round.rate, round.p50, round.p99, round.server_cpu, round.client_cpu,
    );
}

/// The headings over [`round`].
pub(crate) fn headings(title: &str, unit: &str) {
    println!("\n{title}");
    println!(
        "  {:<38} {:>8} {:>9} {:>9} {:>8} {:>8} {:>7}",
        "", unit, "p50 ms", "p99 ms", "srv µs", "cli µs", "ratio"
    );
}

/// A figure with its goal.
pub(crate) fn figure(name: &str, value: String, goal: &str) {
    println!("  {name:<52} {value:>14}  {goal}");
}

/// Whether a goal is met, for people who read the table.
pub(crate) fn verdict(met: bool, goal: &str) -> String {
    format!("goal {goal}: {}", if met { "met" } else { "missed" })
}
