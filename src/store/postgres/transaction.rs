//! One transaction on the wire: its statements are sent at once, and its end is known by the answers.

use std::time::Duration;

use futures_util::future::MaybeDone;
use tokio::time::timeout;
use tokio_postgres::{Error, Row, Statement};

use super::error::{describe, is_definite};
use super::session::Session;
use super::step::{Sent, Step, control, run, send};

/// The time limit of a transaction. The server stops a statement earlier, and reports it.
pub(super) const TRANSACTION: Duration = Duration::from_secs(9);
/// The least bandwidth for payloads, in bytes per second; they add to the time limit.
const BYTES_PER_SECOND: usize = 4 << 20;

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// The parts of a commit.
pub(super) struct Work<'a> {
    /// Statements of the transaction, all or none.
    pub(super) steps: Vec<Step<'a>>,
    /// Whether the commit uses the name that it was given.
    pub(super) is_named: bool,
    /// The notification after the commit. Within the transaction it would make all replicas' commits wait for each
    /// other.
    pub(super) tell: Option<Step<'a>>,
    /// The bytes to send beside rows.
    pub(super) bytes: usize,
}

impl<'a> Work<'a> {
    /// Statements without notifications.
    pub(super) fn of(steps: Vec<Step<'a>>) -> Self {
        Self { steps, is_named: false, tell: None, bytes: 0 }
    }
}

/// A transaction's outcome.
pub(super) enum Outcome {
    /// The rows of every statement, and whether others were notified.
    Committed(Vec<Vec<Row>>, bool),
    RolledBack(Error),
    Unknown(String),
}

/// Runs a whole transaction, or the rest of an open one, and then the notification.
pub(super) async fn transact(
    session: &Session,
    is_open: bool,
    work: &Work<'_>,
    statements: &[Statement],
) -> Outcome {
    let warnings = session.warnings();
    let mut sent: Vec<Sent<'_>> = Vec::with_capacity(statements.len() + 2);
    if !is_open {
        sent.push(send(control(session, BEGIN)).await);
    }
    let first = sent.len();
    for (step, statement) in work.steps.iter().zip(statements) {
        sent.push(send(run(session, statement, step)).await);
    }
    // A statement that could not be sent did not fail on the server, so a COMMIT would commit the others.
    let is_sent = sent.iter().all(|sent| !matches!(&**sent, MaybeDone::Done(Err(_))));
    let last = sent.len();
    sent.push(send(control(session, if is_sent { "COMMIT" } else { "ROLLBACK" })).await);
    if let (Some(step), Some(statement)) = (&work.tell, statements.last()) {
        sent.push(send(run(session, statement, step)).await);
    }
    let answered = async {
        for sent in &mut sent {
            sent.as_mut().await;
        }
    };
    // Missing responses are handled below.
    let limit = TRANSACTION + Duration::from_secs((work.bytes / BYTES_PER_SECOND) as u64);
    let _ = timeout(limit, answered).await;

    let mut rows = Vec::with_capacity(work.steps.len());
    for (at, mut sent) in sent.into_iter().enumerate() {
        match sent.as_mut().take_output() {
            // The transaction is committed by now.
            answer if at > last => return Outcome::Committed(rows, matches!(answer, Some(Ok(_)))),
            None => return Outcome::Unknown("the database did not answer a commit".to_owned()),
            // The only possible warning: committed on this server, but not confirmed by the standbys.
            Some(Ok(_)) if at == last && session.warnings() != warnings => {
                let why = "the database committed, but its wait for a standby was cancelled";
                return Outcome::Unknown(why.to_owned());
            }
            Some(Ok(found)) if (first..last).contains(&at) => rows.push(found),
            Some(Ok(_)) => {}
            Some(Err(error)) if at < last && (error.as_db_error().is_some() || !is_sent) => {
                return Outcome::RolledBack(error);
            }
            Some(Err(error)) if is_definite(&error) => return Outcome::RolledBack(error),
            Some(Err(error)) => return Outcome::Unknown(describe(&error)),
        }
    }
    Outcome::Committed(rows, true)
}

/// Statements of a transaction that goes on.
pub(super) async fn query_open(
    session: &Session,
    is_open: bool,
    steps: &[Step<'_>],
    statements: &[Statement],
) -> Result<Vec<Vec<Row>>, Error> {
    let mut sent: Vec<Sent<'_>> = Vec::with_capacity(steps.len() + 1);
    if !is_open {
        sent.push(send(control(session, BEGIN)).await);
    }
    let first = sent.len();
    for (step, statement) in steps.iter().zip(statements) {
        sent.push(send(run(session, statement, step)).await);
    }
    let mut rows = Vec::with_capacity(steps.len());
    for (at, mut sent) in sent.into_iter().enumerate() {
        sent.as_mut().await;
        let answer = sent.as_mut().take_output().transpose()?;
        rows.extend(answer.filter(|_| at >= first));
    }
    Ok(rows)
}
