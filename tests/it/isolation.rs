//! One failing thing harms itself only: what collides, or cannot be read or written, is one operation's error.

use std::path::{Path, PathBuf};

use longrun::config::StoreUrl;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

async fn with_file() -> (tempfile::TempDir, PathBuf, TestServer) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("longrun.db");
    let url = StoreUrl::Sqlite(path.clone());
    let server = TestServer::with(|config| config.store.url = url).await;
    (dir, path, server)
}

/// Changes the file behind the server's back.
fn sql(path: &Path, statement: &str) {
    let file = rusqlite::Connection::open(path).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(file.execute(statement, []).unwrap(), 1);
}

fn keyed(key: &str) -> SubmitRequest {
    SubmitRequest { idempotency_key: key.to_owned(), ..submission("demo") }
}

/// Submits until it is told to stop.
async fn bystander(api: Api, mut stop: tokio::sync::watch::Receiver<bool>) -> usize {
    let mut submitted = 0;
    while !*stop.borrow_and_update() {
        api.submit(submission("bystander")).await;
        submitted += 1;
    }
    submitted
}

#[tokio::test]
async fn a_key_whose_operation_is_being_deleted_can_be_used_at_once() {
    let server = TestServer::start().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let bystanders: Vec<_> =
        (0..4).map(|_| spawn(bystander(server.api.clone(), stopped.clone()))).collect();
    for number in 0..40 {
        let key = format!("key-{number}");
        let name = server.cancelled(keyed(&key)).await.name;
        let (_, again) = tokio::join!(server.delete(&name), server.submit(keyed(&key)));
        // Which of them came first is not said.
        if again.name != name {
            assert_eq!(server.get(&again.name).await.state(), State::Queued);
        }
    }
    stop.send_replace(true);
    for bystander in bystanders {
        assert!(soon(bystander).await.unwrap() > 0, "each submission was answered");
    }
}

#[tokio::test]
async fn a_row_that_is_not_what_it_says_harms_no_other() {
    let (_dir, path, server) = with_file().await;
    let name = server.submit(submission("demo")).await.name;
    let fine = server.submit(submission("demo")).await.name;
    sql(&path, "UPDATE operations SET revision = 7 WHERE n = (SELECT min(n) FROM operations)");
    // It is the first that this worker is to be given.
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    assert_eq!(assignment.operation.as_ref().unwrap().name, fine);
    worker.complete(&assignment, None).await;
    let request = CancelOperationRequest { name, reason: String::new() };
    let refused = soon(server.operations().cancel_operation(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "{refused:?}");
    for _ in 0..5 {
        server.cancelled(submission("other")).await;
    }
    server.submit(submission("demo")).await;
    worker.assignment().await;
}

#[tokio::test]
async fn a_damaged_log_is_its_own_operations_concern() {
    let (_dir, path, server) = with_file().await;
    let mut worker = server.worker("demo", 2).await;
    let (damaged, fine) = {
        server.submit(submission("demo")).await;
        server.submit(submission("demo")).await;
        (worker.assignment().await, worker.assignment().await)
    };
    for assignment in [&damaged, &fine] {
        worker.log(assignment, &["a line"]).await;
    }
    let session = worker.disconnect();
    // What is known of its lines is read anew after this.
    let running = [&damaged, &fine].map(|it| attempt_of(it).unwrap()).to_vec();
    let mut server = server;
    server.restart().await;
    sql(&path, "UPDATE log_lines SET number = -5 WHERE id = (SELECT min(id) FROM log_lines)");
    let resume = Hello { session_id: session.session_id, running, ..hello("demo", 2) };
    let mut worker = TestWorker::connect(&server, resume).await;
    let refused = worker.try_log(&damaged, vec!["another line".to_owned()]).await.unwrap();
    assert!(refused.message.contains("damaged"), "{refused:?}");
    worker.log(&fine, &["another line"]).await;
    worker.complete(&fine, None).await;
    worker.complete(&damaged, None).await;
}
