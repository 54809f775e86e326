//! Batches with several replicas: whichever has one, and whoever executes its children.

use longrun::proto::v1::operation::State;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::{
    Batch, Complete, GetOperationRequest, Operation, SubmitBatchRequest, SubmitRequest,
};

use crate::postgres_support::database;
use crate::support::{Replica, attempt, soon};

async fn get(replica: &Replica, name: &str) -> Operation {
    let request = GetOperationRequest { name: name.to_owned(), ..Default::default() };
    replica.operations().get_operation(request).await.unwrap().into_inner()
}

async fn until(replica: &Replica, name: &str, is: impl Fn(&Operation) -> bool) -> Operation {
    soon(async {
        loop {
            let operation = get(replica, name).await;
            if is(&operation) {
                return operation;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_batch_outlives_the_replica_that_has_it() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let child = SubmitRequest { kind: "work".to_owned(), ..Default::default() };
    let request =
        SubmitBatchRequest { requests: vec![child.clone(); 3], batch: Some(Batch::default()) };
    let stored = a.operations().submit_batch(request).await.unwrap().into_inner();
    let name = stored.batch.expect("a batch").name;
    until(&a, &name, |it| it.state() == State::Running).await;
    // The worker is the other's, so that what ends there is heard of here.
    let mut work = b.work("work", None, Vec::new()).await;
    for done in 1..=3 {
        let assignment = work.assignment().await;
        let complete =
            Complete { attempt: Some(attempt(&assignment)), report_id: done, ..Default::default() };
        work.say(Up::Complete(complete)).await;
        let heard = work.heard().await;
        assert!(matches!(heard, longrun::proto::v1::work_response::Message::Ack(_)), "{heard:?}");
        if done == 1 {
            until(&b, &name, |it| it.progress.as_ref().is_some_and(|it| it.done_units == Some(1)))
                .await;
            break;
        }
    }
    a.kill();
    for done in 2..=3 {
        let assignment = work.assignment().await;
        let complete =
            Complete { attempt: Some(attempt(&assignment)), report_id: done, ..Default::default() };
        work.say(Up::Complete(complete)).await;
        work.heard().await;
    }
    let ended = until(&b, &name, |it| it.done).await;
    assert_eq!((ended.state(), ended.attempt), (State::Succeeded, 2), "{ended:?}");
    assert_eq!(ended.attempts_used, 1, "a lost lease uses up no attempt");
}
