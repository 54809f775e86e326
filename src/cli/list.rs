//! `longrun list`.

use std::time::SystemTime;

use super::output::Output;
use super::remote::Remote;
use super::table::{Cell, Table};
use super::{Exit, describe, text};
use crate::proto::json;
use crate::proto::v1::{ListOperationsRequest, Operation, OperationView};

/// The largest page that servers give.
const LARGEST_PAGE: u64 = 1_000;

const EXAMPLES: &str = "\
Examples:
  longrun list --filter 'state=FAILED AND labels.team:*'
  longrun list --filter 'kind=report.build AND create_time>\"2026-01-01T00:00:00Z\"' --all
  longrun list --order-by 'end_time desc' --limit 5
  longrun list --json --all | jq -r '.operations[].name'

With --json the answer is one document as over HTTP, {\"operations\": […], \"nextPageToken\": \"…\"},
written as it comes, one operation a line.";

/// Arguments of `list`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which: AIP-160 over state, kind, labels.KEY, create_time, update_time, start_time, end_time,
    /// priority, attempt, done
    #[arg(long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    filter: String,
    /// In which order: create_time desc, create_time, end_time desc or end_time
    #[arg(long, value_name = "FIELD", default_value = "create_time desc")]
    order_by: String,
    /// Most operations to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// List all that match
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Where to go on: the token with which an earlier list ended, under the same filter and order
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let mut sink = Sink::new(out);
    let mut left = if args.all { u64::MAX } else { args.limit };
    let mut request = ListOperationsRequest {
        page_token: args.page_token,
        filter: args.filter,
        order_by: args.order_by,
        view: OperationView::Basic.into(),
        ..Default::default()
    };
    loop {
        request.page_size = left.min(LARGEST_PAGE) as i32;
        let page = remote.client.list(request.clone()).await;
        let page = page.map_err(|error| remote.failed(&error, "list operations"))?;
        left = left.saturating_sub(page.operations.len() as u64);
        sink.add(&page.operations)?;
        request.page_token = page.next_page_token;
        if left == 0 || request.page_token.is_empty() {
            break;
        }
    }
    sink.end(&request.page_token)?;
    Ok(Exit::Ok)
}

/// Writes pages as they come: a table, or the parts of one JSON document.
struct Sink<'a> {
    out: &'a Output,
    table: Table<6>,
    now: SystemTime,
    count: u64,
}

impl<'a> Sink<'a> {
    fn new(out: &'a Output) -> Self {
        let headings = ["ID", "KIND", "STATE", "AGE", "TOOK", "PROGRESS"];
        Self { out, table: Table::new(headings, out.paint), now: text::now(), count: 0 }
    }

    fn add(&mut self, operations: &[Operation]) -> anyhow::Result<()> {
        if self.out.is_json() {
            for operation in operations {
                let before = if self.count == 0 { "{\"operations\": [\n" } else { ",\n" };
                let document = format!("{before}{}", json::to_value(operation)?);
                self.out.bytes(document.as_bytes())?;
                self.count += 1;
            }
            return Ok(());
        }
        if operations.is_empty() {
            return Ok(());
        }
        self.count += operations.len() as u64;
        let rows = operations.iter().map(|operation| row(operation, self.now)).collect();
        self.out.line(&self.table.block(rows))
    }

    fn end(&self, next_page_token: &str) -> anyhow::Result<()> {
        if self.out.is_json() {
            let before = if self.count == 0 { "{\"operations\": [" } else { "\n" };
            let next = match next_page_token {
                "" => String::new(),
                token => format!(", \"nextPageToken\": {}", serde_json::Value::from(token)),
            };
            return self.out.line(&format!("{before}]{next}}}"));
        }
        if self.count == 0 {
            self.out.note("no operations");
        } else if !next_page_token.is_empty() {
            self.out.note(&format!("there are more: --all, or --page-token {next_page_token}"));
        }
        Ok(())
    }
}

fn row(operation: &Operation, now: SystemTime) -> [Cell; 6] {
    let id = operation.name.rsplit('/').next().unwrap_or_default();
    let age = text::time(operation.create_time.as_ref()).map(|time| text::age(time, now));
    let last = match (&operation.error, &operation.progress) {
        (Some(error), _) => describe::one_line(error),
        (None, Some(progress)) if !operation.done => describe::progress(progress),
        _ => String::new(),
    };
    [
        id.into(),
        text::clean(&operation.kind).into(),
        Cell::state(operation.state()),
        age.unwrap_or_default().into(),
        describe::took(operation, now).into(),
        text::shorten(&last, 60).into(),
    ]
}
