//! Selects operations: a filter, and flags for common filters.

use std::io::{IsTerminal as _, stdin};

use super::output::{Output, Usage};
use super::remote::Remote;
use super::{completions, text};
use crate::operation::filter::{quoted, quoted_pattern};
use crate::proto::v1::operation::State;
use crate::proto::v1::{ListOperationsRequest, OperationView};
use crate::time_text::{NotATime, WrongDuration, parse_duration, parse_time};

/// The largest page that servers return.
pub(super) const LARGEST_PAGE: u64 = 1_000;

/// Flags that select operations; an operation must match all of them.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub(super) struct Selection {
    /// Filter (AIP-160) over state, kind, labels.KEY, create_time, update_time, start_time, end_time, priority, attempt,
    /// done, parent
    #[arg(long, short, value_name = "EXPR", default_value = "", hide_default_value = true)]
    pub(super) filter: String,
    /// In one of these states, e.g. failed; repeatable, or separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state, add = completions::states())]
    state: Vec<State>,
    /// Of one of these kinds; `report.*` matches all that begin with `report.`; repeatable, or separated by commas
    #[arg(long, short, value_name = "KIND", value_delimiter = ',', add = completions::kinds())]
    kind: Vec<String>,
    /// With this label, with this value or any; repeatable
    #[arg(long, short, value_name = "KEY[=VALUE]", value_parser = tested_label)]
    label: Vec<String>,
    /// Children of this batch, by its name, id or URL
    #[arg(long, value_name = "NAME", value_parser = parent, add = completions::operations())]
    parent: Option<String>,
    /// Created at or after this time, or within the last DURATION, e.g. 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<prost_types::Timestamp>,
}

/// `failed`, `FAILED` or `STATE_FAILED`.
pub(super) fn state(word: &str) -> Result<State, String> {
    let name = word.to_ascii_uppercase().replace('-', "_");
    let name = format!("STATE_{}", name.trim_start_matches("STATE_"));
    State::from_str_name(&name).filter(|state| *state != State::Unspecified).ok_or_else(|| {
        "must be queued, running, cancelling, succeeded, partially_succeeded, failed or cancelled"
            .to_owned()
    })
}

/// The name of a batch; its tenant is the caller's.
fn parent(word: &str) -> Result<String, String> {
    let id = word.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let id = id.to_ascii_lowercase();
    let is_id = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    match is_id {
        true => Ok(format!("operations/{id}")),
        false => Err("must be the name, the whole id or a URL of a batch".to_owned()),
    }
}

/// The seconds from 1970 back to the beginning of the year 1.
const YEAR_ONE: i64 = -62_135_596_800;

fn since(word: &str) -> Result<prost_types::Timestamp, String> {
    let ago = parse_duration(word);
    if ago != Err(WrongDuration::Malformed) {
        let time = ago.ok().and_then(|ago| text::now().checked_sub(ago));
        let time = time.map(prost_types::Timestamp::from);
        // Filters take times from the year 1 on.
        let time = time.filter(|time| time.seconds >= YEAR_ONE);
        return time.ok_or_else(|| "must be after the year 1".to_owned());
    }
    let time = parse_time(word);
    time.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos })
        .map_err(|_| format!("{NotATime}, or a duration such as 2h"))
}

impl Selection {
    /// Whether no flag was given.
    pub(super) fn is_empty(&self) -> bool {
        self.expression().is_empty()
    }

    /// The flags as one filter.
    pub(super) fn expression(&self) -> String {
        let any = |field: &str, values: Vec<String>| match &values[..] {
            [] => None,
            [value] => Some(format!("{field}={value}")),
            values => {
                let tests = values.iter().map(|value| format!("{field}={value}"));
                Some(format!("({})", tests.collect::<Vec<_>>().join(" OR ")))
            }
        };
        let states = self.state.iter().map(|state| super::describe::state_name(*state).to_owned());
        let kinds = self.kind.iter().map(|kind| quoted_pattern(kind));
        let labels = self.label.iter().map(|label| match label.split_once('=') {
            Some((key, value)) => format!("labels.{}={}", quoted(key), quoted_pattern(value)),
            None => format!("labels.{}:*", quoted(label)),
        });
        let whole = Some(self.filter.trim()).filter(|filter| !filter.is_empty());
        let tests = [any("state", states.collect()), any("kind", kinds.collect())];
        let mut tests: Vec<String> = tests.into_iter().flatten().chain(labels).collect();
        tests.extend(self.parent.as_ref().map(|parent| format!("parent=\"{parent}\"")));
        tests.extend(self.since.map(|time| format!("create_time>=\"{time}\"")));
        match whole {
            Some(filter) if tests.is_empty() => filter.to_owned(),
            Some(filter) => format!("({filter}) AND {}", tests.join(" AND ")),
            None => tests.join(" AND "),
        }
    }
}

/// Reads `KEY` or `KEY=VALUE`.
fn tested_label(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with('=') {
        true => Err("must be KEY or KEY=VALUE, e.g. team=maps".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Operations by name, or all that match a selection.
#[derive(clap::Args, Debug)]
pub(super) struct Chosen {
    /// The operations: names, ids, beginnings of ids of at least 8 digits, or URLs
    #[arg(value_name = "NAME", conflicts_with_all = SELECTING, add = completions::operations())]
    names: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Change the selected operations without asking
    #[arg(long, short)]
    yes: bool,
}

const SELECTING: [&str; 6] = ["filter", "state", "kind", "label", "parent", "since"];

impl Chosen {
    /// The names that were given; or, for a selection, the names of its operations that also match `also`, once the user
    /// has confirmed their number. `verb` names the change.
    pub(super) async fn names(
        &self,
        verb: &str,
        also: &str,
        remote: &Remote,
        out: &Output,
    ) -> anyhow::Result<Vec<String>> {
        if !self.names.is_empty() {
            return remote.names(&self.names).await;
        }
        if self.selection.is_empty() {
            return Err(Usage(format!(
                "NAME is missing, and no --filter: name the operations to {verb}, or select them, e.g. longrun {verb} --filter '{also}'"
            ))
            .into());
        }
        let filter = format!("({}) AND {also}", self.selection.expression());
        let names = matching(filter, remote).await?;
        let count = names.len();
        let (operations, match_) =
            if count == 1 { ("operation", "matches") } else { ("operations", "match") };
        if count == 0 {
            out.note(&format!("no operation to {verb} matches"));
        } else if !self.yes && !stdin().is_terminal() {
            let text = format!(
                "{count} {operations} {match_}; add --yes to {verb} them, e.g. longrun {verb} --filter '{also}' --yes"
            );
            return Err(Usage(text).into());
        } else if !self.yes && !agrees(&format!("{verb} {count} {operations}? [y/N] "))? {
            out.note("nothing has changed");
            return Ok(Vec::new());
        }
        Ok(names)
    }
}

async fn matching(filter: String, remote: &Remote) -> anyhow::Result<Vec<String>> {
    let mut request = ListOperationsRequest {
        filter,
        page_size: LARGEST_PAGE as i32,
        view: OperationView::Basic.into(),
        ..Default::default()
    };
    let mut names = Vec::new();
    loop {
        let page = remote.client.list(request.clone()).await;
        let page = page.map_err(|error| remote.failed(&error, "list operations"))?;
        names.extend(page.operations.into_iter().map(|operation| operation.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(names);
        }
    }
}

fn agrees(question: &str) -> anyhow::Result<bool> {
    use std::io::Write as _;
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        selection: Selection,
    }

    #[test]
    fn flags_become_a_filter_that_servers_take() {
        for (words, expected) in [
            (&[][..], ""),
            (&["--state", "failed"], "state=FAILED"),
            (
                &["--state=failed,STATE_QUEUED", "--kind", "a"],
                "(state=FAILED OR state=QUEUED) AND kind=\"a\"",
            ),
            (
                &["-f", "priority>3 OR done=true", "-l", "team=a\"b", "-l", "x/y"],
                "(priority>3 OR done=true) AND labels.\"team\"=\"a\\\"b\" AND labels.\"x/y\":*",
            ),
            (
                &["--parent", "http://x/v1/operations/0191E2AB-7C1D-7000-8000-0123456789AB"],
                "parent=\"operations/0191e2ab-7c1d-7000-8000-0123456789ab\"",
            ),
            (&["--since", "2026-01-31T12:00:00+02:00"], "create_time>=\"2026-01-31T10:00:00Z\""),
        ] {
            let line = Line::try_parse_from(["x"].iter().chain(words)).unwrap();
            let filter = line.selection.expression();
            assert_eq!(filter, expected);
            crate::operation::filter::Filter::parse(&filter).unwrap();
        }
        for wrong in [["--state", "broken"], ["--since", "yesterday"]] {
            assert!(Line::try_parse_from(["x"].iter().chain(&wrong)).is_err());
        }
    }
}
