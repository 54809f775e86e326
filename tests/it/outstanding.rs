//! The limit of operations that are not done: past it new work is refused, known work is not.

use std::time::Duration;

use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

fn keyed(key: &str) -> SubmitRequest {
    SubmitRequest { idempotency_key: key.to_owned(), ..submission("demo") }
}

#[tokio::test]
async fn past_the_limit_new_work_is_refused_with_a_hint_and_the_done_makes_room() {
    let mut server = TestServer::with(|config| config.limits.max_outstanding = 2).await;
    let first = server.submit(keyed("first")).await;
    let second = server.submit(keyed("second")).await;
    for restarted in [false, true] {
        let refused = soon(server.operations().submit(keyed("third"))).await.refused();
        refused.is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED");
        assert!(refused.retry_after.is_some_and(|after| after >= Duration::from_millis(1)));
        assert_eq!(refused.quotas, 1);
        assert_eq!(refused.metadata["limit"], "2");
        let again = server.submit(keyed("second")).await;
        assert_eq!(again, second, "a known key is no new work");
        if !restarted {
            server.restart().await;
        }
    }
    server.cancel(&first.name, "").await;
    server.submit(keyed("third")).await;
    let refused = soon(server.operations().submit(keyed("fourth"))).await.refused();
    refused.is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED");

    // Done work makes room as well, and deleting it makes no more.
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    server.delete(&first.name).await;
    server.submit(keyed("fourth")).await;
    let refused = soon(server.operations().submit(keyed("fifth"))).await.refused();
    refused.is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED");
}
