//! Statements with their values, sent on one connection without waiting in between.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_util::future::{MaybeDone, maybe_done};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::super::StoreError;
use super::server::CONNECTING;
use super::session::Session;

/// A statement with its values.
pub(super) struct Step<'a> {
    sql: String,
    values: Vec<Box<dyn ToSql + Sync + Send + 'a>>,
}

impl<'a> Step<'a> {
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// The same values for another statement.
    pub(super) fn reading(mut self, sql: String) -> Self {
        self.sql = sql;
        self
    }

    /// Binds the next value.
    pub(super) fn with(mut self, value: impl ToSql + Sync + Send + 'a) -> Self {
        self.values.push(Box::new(value));
        self
    }

    /// Runs the statement by itself.
    pub(super) async fn run(&self, session: &Session) -> Result<Vec<Row>, Error> {
        let statement = session.prepare(&self.sql).await?;
        run(session, &statement, self).await
    }
}

/// The prepared statement of each step.
pub(super) async fn prepare<'s, 'a: 's>(
    session: &Session,
    steps: impl Iterator<Item = &'s Step<'a>>,
) -> Result<Vec<Statement>, StoreError> {
    let prepared = async {
        let mut statements = Vec::new();
        for step in steps {
            statements.push(session.prepare(&step.sql).await?);
        }
        Ok::<_, Error>(statements)
    };
    Ok(timeout(CONNECTING, prepared).await.map_err(|_| stalled())??)
}

/// A sent request, and its response once it has arrived.
pub(super) type Sent<'a> =
    Pin<Box<MaybeDone<Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>>>>;

/// Sends a request without waiting for the response. If it cannot be sent, its error is there at once.
pub(super) async fn send<'a>(
    request: impl Future<Output = Result<Vec<Row>, Error>> + Send + 'a,
) -> Sent<'a> {
    let boxed: Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>> =
        Box::pin(request);
    let mut sent = Box::pin(maybe_done(boxed));
    poll_fn(|cx| {
        let _ = sent.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    sent
}

/// Runs a statement without values that returns no rows.
pub(super) async fn control(session: &Session, sql: &str) -> Result<Vec<Row>, Error> {
    session.client.batch_execute(sql).await.map(|()| Vec::new())
}

/// Runs a statement with a step's values; returns its rows.
pub(super) async fn run(
    session: &Session,
    statement: &Statement,
    step: &Step<'_>,
) -> Result<Vec<Row>, Error> {
    let params: Vec<&(dyn ToSql + Sync)> =
        step.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
    session.client.query(statement, &params).await
}

/// The error for a database that did not respond in time.
pub(super) fn stalled() -> StoreError {
    StoreError::Unavailable("the database did not answer in time".to_owned())
}
