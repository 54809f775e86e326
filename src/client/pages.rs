//! Lists and histories, page by page, or all pages as one stream.

use std::future::Future;

use futures_util::{Stream, stream};

use super::{Client, ClientError};
use crate::proto::v1::{
    Event, ListEventsRequest, ListEventsResponse, ListOperationsRequest, ListOperationsResponse,
    Operation,
};

impl Client {
    /// One page of operations.
    pub async fn list(
        &self,
        request: ListOperationsRequest,
    ) -> Result<ListOperationsResponse, ClientError> {
        self.unary(request, async |mut rpc, request| rpc.list_operations(request).await).await
    }

    /// All operations from `request`'s page on; each page is fetched when it is needed.
    pub fn list_all(
        &self,
        request: ListOperationsRequest,
    ) -> impl Stream<Item = Result<Operation, ClientError>> + Send + use<> {
        let client = self.clone();
        pages(request.page_token.clone(), move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let page = client.list(ListOperationsRequest { page_token, ..request }).await?;
                Ok((page.operations, page.next_page_token))
            }
        })
    }

    /// One page of an operation's history.
    pub async fn events(
        &self,
        request: ListEventsRequest,
    ) -> Result<ListEventsResponse, ClientError> {
        self.unary(request, async |mut rpc, request| rpc.list_events(request).await).await
    }

    /// An operation's whole history; each page is fetched when it is needed.
    pub fn events_all(
        &self,
        name: &str,
    ) -> impl Stream<Item = Result<Event, ClientError>> + Send + use<> {
        let (client, name) = (self.clone(), name.to_owned());
        pages(String::new(), move |page_token| {
            let (client, name) = (client.clone(), name.clone());
            async move {
                let request = ListEventsRequest { name, page_size: 0, page_token };
                let page = client.events(request).await?;
                Ok((page.events, page.next_page_token))
            }
        })
    }
}

/// The items of all pages, from the page of `first_token` on.
fn pages<T, F>(
    first_token: String,
    fetch: impl Fn(String) -> F + Send,
) -> impl Stream<Item = Result<T, ClientError>> + Send
where
    T: Send,
    F: Future<Output = Result<(Vec<T>, String), ClientError>> + Send,
{
    let begin = (Vec::new().into_iter(), Some(first_token), fetch);
    stream::try_unfold(begin, |(mut items, mut token, fetch)| async move {
        loop {
            if let Some(item) = items.next() {
                return Ok(Some((item, (items, token, fetch))));
            }
            let Some(page_token) = token else { return Ok(None) };
            let (page, next) = fetch(page_token).await?;
            items = page.into_iter();
            token = Some(next).filter(|next| !next.is_empty());
        }
    })
}
