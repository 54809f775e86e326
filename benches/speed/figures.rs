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

/// A line of a table of rounds, with what it is against those of `bare`: of the rates, and of the
/// CPU time of both sides, which a busy machine disturbs less.
pub(crate) fn round(name: &str, round: &Round, bare: Option<&Round>, note: &str) {
    let ratios = bare.map_or_else(String::new, |bare| {
        format!("{:>7.2} {:>7.2}", round.rate / bare.rate, bare.cpu() / round.cpu())
    });
    println!(
        "  {name:<30} {:>8.0} {:>8.2} {:>8.2} {:>7.0} {:>7.0} {ratios:>15}  {note}",
        round.rate, round.p50, round.p99, round.server_cpu, round.client_cpu,
    );
}

/// The headings over [`round`].
pub(crate) fn headings(title: &str, unit: &str) {
    println!("\n{title}");
    println!(
        "  {:<30} {unit:>8} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7}",
        "", "p50 ms", "p99 ms", "srv µs", "cli µs", "ratio", "CPU"
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
