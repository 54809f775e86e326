//! `longrun list`.

use std::time::SystemTime;

use super::format::Format;
use super::output::Output;
use super::remote::Remote;
use super::selection::{LARGEST_PAGE, Selection};
use super::table::{Cell, Table};
use super::{Exit, describe, text, yaml};
use crate::config::whole;
use crate::proto::json;
use crate::proto::v1::{ListOperationsRequest, Operation, OperationView};

const EXAMPLES: &str = "\
Examples:
  longrun list --state failed --since 2h --wide
  longrun list --kind report.build --label team=maps -o name
  longrun list -f 'state=FAILED AND labels.team:*'
  longrun list --filter 'kind=report.build AND create_time>\"2026-01-01T00:00:00Z\"' --all
  longrun list --order-by 'end_time desc' --limit 5
  longrun list --all-tenants --state running
  longrun list --json --all | jq -r '.operations[].name'

With --json the output is one document as over HTTP, {\"operations\": […], \"nextPageToken\": \"…\"},
written page by page, one operation per line.";

/// Arguments of `list`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Tenant, for operators: its operations, without the texts of its errors and progress
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    tenant: String,
    /// All tenants, for operators
    #[arg(long, conflicts_with = "tenant")]
    all_tenants: bool,
    /// Output format; --json is -o json [default: table]
    #[arg(long = "output", short = 'o', value_name = "FORMAT", value_enum)]
    format: Option<Format>,
    /// Show more columns: attempt, priority, worker, labels
    #[arg(long)]
    wide: bool,
    /// Order: create_time desc, create_time, end_time desc or end_time
    #[arg(long, value_name = "FIELD", default_value = "create_time desc")]
    order_by: String,
    /// The most operations to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = whole(1..=u64::MAX))]
    limit: u64,
    /// List all matches
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Token that an earlier list with the same filter and order printed at its end
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let format = Format::chosen(args.format, out)?.unwrap_or_default();
    let mut sink = Sink::new(out, format, Columns { wide: args.wide, tenant: args.all_tenants });
    let mut left = if args.all { u64::MAX } else { args.limit };
    let mut request = ListOperationsRequest {
        page_token: args.page_token,
        filter: args.selection.expression(),
        order_by: args.order_by,
        view: OperationView::Basic.into(),
        tenant: if args.all_tenants { "-".to_owned() } else { args.tenant },
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

/// These operations as a table.
pub(super) fn table(operations: &[Operation], out: &Output) -> anyhow::Result<()> {
    let mut sink = Sink::new(out, Format::Table, Columns { wide: false, tenant: false });
    sink.add(operations)?;
    sink.end("")
}

/// Optional columns.
#[derive(Clone, Copy)]
struct Columns {
    wide: bool,
    tenant: bool,
}

/// Writes pages as they arrive: a table, names, or the parts of one document.
struct Sink<'a> {
    out: &'a Output,
    format: Format,
    columns: Columns,
    table: Table,
    now: SystemTime,
    count: u64,
}

impl<'a> Sink<'a> {
    fn new(out: &'a Output, format: Format, columns: Columns) -> Self {
        let mut headings = vec!["ID", "KIND", "STATE", "AGE", "TOOK"];
        if columns.tenant {
            headings.insert(1, "TENANT");
        }
        if columns.wide {
            headings.extend(["ATTEMPT", "PRIORITY", "WORKER", "LABELS"]);
        }
        headings.push("PROGRESS");
        let table = Table::new(headings, out.paint);
        Self { out, format, columns, table, now: text::now(), count: 0 }
    }

    fn add(&mut self, operations: &[Operation]) -> anyhow::Result<()> {
        if operations.is_empty() {
            return Ok(());
        }
        if self.format == Format::Table {
            let rows = operations.iter().map(|it| row(it, self.now, self.columns)).collect();
            let block = self.table.block(rows);
            self.out.line(&block)?;
        } else {
            for operation in operations {
                self.add_entry(operation)?;
                self.count += 1;
            }
            return Ok(());
        }
        self.count += operations.len() as u64;
        Ok(())
    }

    fn add_entry(&self, operation: &Operation) -> anyhow::Result<()> {
        let is_first = self.count == 0;
        match self.format {
            Format::Name | Format::Table => self.out.line(&text::clean(&operation.name)),
            Format::Json => {
                let before = if is_first { "{\"operations\": [\n" } else { ",\n" };
                let document = format!("{before}{}", json::to_value(operation)?);
                self.out.bytes(document.as_bytes())
            }
            Format::Yaml => {
                let before = if is_first { "operations:\n" } else { "" };
                let entry = yaml::entry(&json::to_value(operation)?);
                self.out.line(&format!("{before}{entry}"))
            }
        }
    }

    fn end(&self, next_page_token: &str) -> anyhow::Result<()> {
        let token = serde_json::Value::from(next_page_token);
        let is_last = next_page_token.is_empty();
        match self.format {
            Format::Json => {
                let before = if self.count == 0 { "{\"operations\": [" } else { "\n" };
                let next = match is_last {
                    true => String::new(),
                    false => format!(", \"nextPageToken\": {token}"),
                };
                self.out.line(&format!("{before}]{next}}}"))?;
            }
            Format::Yaml => {
                if self.count == 0 {
                    self.out.line("operations: []")?;
                }
                if !is_last {
                    self.out.line(&format!("nextPageToken: {token}"))?;
                }
            }
            Format::Table if self.count == 0 => self.out.note("no operations"),
            Format::Table | Format::Name if !is_last => {
                self.out
                    .note(&format!("there are more: use --all, or --page-token {next_page_token}"));
            }
            Format::Table | Format::Name => {}
        }
        Ok(())
    }
}

fn row(operation: &Operation, now: SystemTime, columns: Columns) -> Vec<Cell> {
    let id = operation.name.rsplit('/').next().unwrap_or_default();
    let age = text::time(operation.create_time.as_ref()).map(|time| text::age(time, now));
    let Columns { wide, tenant } = columns;
    let last = match (&operation.error, &operation.progress) {
        (Some(error), _) => describe::one_line(error),
        (None, Some(progress)) if !operation.done => describe::progress(progress),
        _ if wide => describe::waiting(operation),
        _ => String::new(),
    };
    let mut cells: Vec<Cell> = vec![
        id.into(),
        text::clean(&operation.kind).into(),
        Cell::state(operation.state()),
        age.unwrap_or_default().into(),
        describe::took(operation, now).into(),
    ];
    if tenant {
        cells.insert(1, text::clean(&operation.tenant).into());
    }
    if wide {
        let priority = operation.settings.as_ref().map_or(0, |settings| settings.priority);
        cells.extend([
            operation.attempt.to_string().into(),
            priority.to_string().into(),
            text::clean(&operation.worker_id).into(),
            text::shorten(&describe::labels(operation), 60).into(),
        ]);
    }
    cells.push(text::shorten(&last, 60).into());
    cells
}
