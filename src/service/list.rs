//! Lists of operations and of events, page by page.

use std::sync::Arc;

use super::filling::Page;
use super::keys::Whose;
use super::operations::{named, own_tenant};
use super::page::PageRequest;
use super::{Action, Caller, Document, OperationName, Service, ServiceError, View, Violations};
use crate::operation::filter::Filter;
use crate::operation::{Operation, OperationId, Revision, Scope, Timestamp};
use crate::store::{
    HistoryEntry, HistoryPosition, HistoryQuery, ListOrder, ListPosition, ListQuery, OrderBy,
};

/// The parameters of a list.
#[derive(Clone, Debug, Default)]
pub struct ListParameters<'a> {
    /// The tenants. An operator lists outlines of another tenant or of all tenants, by create time.
    pub whose: Whose,
    /// The maximum number of operations; 0: the default.
    pub page_size: i32,
    /// Where to begin; empty: at the beginning.
    pub page_token: &'a str,
    /// A filter (AIP-160).
    pub filter: &'a str,
    /// The order (AIP-132).
    pub order_by: &'a str,
    /// Labels that all listed operations must have, with their values.
    pub within: &'a [(String, String)],
}

/// A valid request for a page of a list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    page: PageRequest,
    whose: Whose,
    filter: Filter,
    order: ListOrder,
    within: Vec<(String, String)>,
    /// Whether the page is not sent to a client, so that it takes no room of the connection.
    is_unsent: bool,
}

impl ListRequest {
    /// The same request from this process itself, which drops the page after use.
    #[must_use]
    pub fn unsent(self) -> Self {
        Self { is_unsent: true, ..self }
    }
}

impl ListParameters<'_> {
    /// Checks the parameters for `caller`; notes every broken rule.
    pub fn read(&self, caller: &Caller, found: &mut Violations) -> Option<ListRequest> {
        let Self { ref whose, page_size, page_token, filter, order_by, within } = *self;
        let within_text = within.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        let whose_text = match whose {
            Whose::Own => caller.tenant.as_str(),
            Whose::Of(tenant) => tenant.as_str(),
            Whose::Everybodys => "-",
        };
        let about = [whose_text, filter, order_by].into_iter().chain(within_text);
        let about: Vec<&str> = about.collect();
        let page = PageRequest::read(&about, (page_size, 50), page_token, found);
        let filter = found.take(parse_filter(filter));
        let order = found.take(parse_order(order_by));
        Some(ListRequest {
            page: page?,
            whose: whose.clone(),
            filter: filter?,
            order: order?,
            within: within.to_vec(),
            is_unsent: false,
        })
    }
}

/// A valid request for a page of a history.
#[derive(Clone, Debug)]
pub struct HistoryRequest {
    name: OperationName,
    page: PageRequest,
    /// As in [`ListRequest`].
    is_unsent: bool,
}

impl HistoryRequest {
    /// A request for at most `page_size` entries (0: the default) after `page_token` (empty: from the beginning) of the
    /// history of `name`, which is `None` if the name itself is wrong. Notes every broken rule.
    pub fn read(
        name: Option<OperationName>,
        page_size: i32,
        page_token: &str,
        found: &mut Violations,
    ) -> Option<Self> {
        let about = name.as_ref().map(|name| name.id.to_string()).unwrap_or_default();
        let page = PageRequest::read(&[&about], (page_size, 100), page_token, found);
        Some(Self { name: name?, page: page?, is_unsent: false })
    }

    /// The page after `position`, for calls from within this process.
    pub fn behind(name: OperationName, position: HistoryPosition) -> Self {
        let page = PageRequest::behind(history_bytes(position));
        Self { name, page, is_unsent: true }
    }
}

impl Service {
    /// A page of operations: as many as fit by `weigh`, their encoded size in bytes.
    pub async fn list(
        &self,
        caller: &Caller,
        request: ListRequest,
        view: View,
        weigh: fn(&Document) -> usize,
    ) -> Result<Page<Document>, ServiceError> {
        let ListRequest { page, whose, filter, order, within, is_unsent } = request;
        caller.may(Action::List)?;
        let scope = whose.scope(caller)?;
        let is_own = matches!(&scope, Scope::Tenant(tenant) if *tenant == caller.tenant);
        if !is_own {
            only_outlines(view, order, &scope)?;
        }
        let view = caller.sees(view);
        let filter = if is_own { filter.of(caller.owner.as_ref()) } else { filter };
        let mut query = ListQuery {
            scope,
            filter: filter.within(&within),
            order,
            after: page.after.map(list_position),
            limit: 0,
        };
        let mut filling = self.begin_page(caller, page, is_unsent).await?;
        let mut others = None;
        while let Some(reading) = filling.next_read() {
            // One more row shows whether there is a next page.
            query.limit = reading + 1;
            let found = self.engine.list(query.clone()).await?;
            let is_last = found.len() <= reading;
            if others.is_none() && found.iter().any(Operation::is_queued) {
                others = Some(self.engine.other_workers().await);
            }
            if view != View::Basic {
                self.count_for(&found).await?;
            }
            for operation in found.into_iter().take(reading) {
                let operation = if is_own { operation } else { operation.outline() };
                let others = others.as_ref();
                let waiting = others.and_then(|others| self.engine.waiting(&operation, others));
                let document = self.document(Arc::new(operation), view).await?;
                let document = Document { waiting, ..document };
                query.after = Some(list_position(list_bytes(&document.operation)));
                let bytes = weigh(&document);
                if !filling.add(document, bytes) {
                    break;
                }
            }
            filling.added(is_last);
        }
        Ok(filling.end(|last| list_bytes(&last.operation)))
    }

    /// A page of an operation's history, oldest first: as many entries as fit by `weigh`, their encoded size in bytes.
    pub async fn events(
        &self,
        caller: &Caller,
        request: HistoryRequest,
        weigh: fn(&HistoryEntry) -> usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        let HistoryRequest { name, page, is_unsent } = request;
        let operation = self.find(caller, &name).await?;
        let mut after = page.after.map(history_position);
        let mut filling = self.begin_page(caller, page, is_unsent).await?;
        while let Some(reading) = filling.next_read() {
            let query = HistoryQuery {
                id: operation.id(),
                after: after.unwrap_or_default(),
                include_log: true,
                limit: reading + 1,
            };
            let found = self.engine.history(query).await;
            let found = found.map_err(|error| named(error, operation.id()))?;
            let is_last = found.len() <= reading;
            for entry in found.into_iter().take(reading) {
                after = Some(entry.position());
                let bytes = weigh(&entry);
                if !filling.add(entry, bytes) {
                    break;
                }
            }
            filling.added(is_last);
        }
        Ok(filling.end(|last| history_bytes(last.position())))
    }
}

impl Whose {
    /// The scope of the choice, if the caller may use it.
    fn scope(self, caller: &Caller) -> Result<Scope, ServiceError> {
        match self {
            Self::Own => Ok(caller.tenant.clone().into()),
            Self::Of(tenant) => {
                if !caller.can(Action::Operate) {
                    own_tenant(caller, Some(&tenant))?;
                }
                Ok(tenant.into())
            }
            Self::Everybodys => caller.may(Action::Operate).map(|()| Scope::All),
        }
    }
}

/// Refuses data of other tenants that operators may not see, and an order without an index.
fn only_outlines(view: View, order: ListOrder, scope: &Scope) -> Result<(), ServiceError> {
    let mut found = Violations::default();
    if view != View::Basic {
        found.note("view", "must be BASIC or unset for another tenant");
    }
    if *scope == Scope::All && order.by == OrderBy::EndTime {
        found.note("order_by", "must be create_time, alone or followed by desc, for all tenants");
    }
    found.check()
}

/// Parses a filter.
pub fn parse_filter(text: &str) -> Result<Filter, ServiceError> {
    Filter::parse(text).map_err(|error| ServiceError::invalid_field("filter", error.to_string()))
}

fn parse_order(text: &str) -> Result<ListOrder, ServiceError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (by, descending) = match words[..] {
        [] => (OrderBy::CreateTime, true),
        ["create_time"] | ["create_time", "asc"] => (OrderBy::CreateTime, false),
        ["create_time", "desc"] => (OrderBy::CreateTime, true),
        ["end_time"] | ["end_time", "asc"] => (OrderBy::EndTime, false),
        ["end_time", "desc"] => (OrderBy::EndTime, true),
        _ => {
            let rule = "must be create_time or end_time, alone or followed by desc";
            return Err(ServiceError::invalid_field("order_by", rule));
        }
    };
    Ok(ListOrder { by, descending })
}

fn list_bytes(operation: &Operation) -> [u8; 24] {
    let end_time = operation.ended_at().unwrap_or(Timestamp::MAX);
    join(end_time.micros().to_be_bytes(), *operation.id().as_bytes())
}

fn list_position(bytes: [u8; 24]) -> ListPosition {
    let (end_time, id) = split(bytes);
    ListPosition {
        end_time: Timestamp::from_micros(i64::from_be_bytes(end_time)),
        id: OperationId::from_bytes(id),
    }
}

fn history_bytes(position: HistoryPosition) -> [u8; 24] {
    join(position.revision.0.to_be_bytes(), u128::from(position.log_number).to_be_bytes())
}

fn history_position(bytes: [u8; 24]) -> HistoryPosition {
    let (revision, log_number) = split(bytes);
    HistoryPosition {
        revision: Revision(u64::from_be_bytes(revision)),
        log_number: u64::try_from(u128::from_be_bytes(log_number)).unwrap_or(u64::MAX),
    }
}

fn join(head: [u8; 8], tail: [u8; 16]) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&head);
    bytes[8..].copy_from_slice(&tail);
    bytes
}

fn split(bytes: [u8; 24]) -> ([u8; 8], [u8; 16]) {
    let (mut head, mut tail) = ([0; 8], [0; 16]);
    head.copy_from_slice(&bytes[..8]);
    tail.copy_from_slice(&bytes[8..]);
    (head, tail)
}
