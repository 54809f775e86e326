//! The submitter's place in a trace: kept with the operation, given to workers, across a restart.

use longrun::proto::v1::*;
use tonic::Request;

use crate::support::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn traced<T>(message: T, parent: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("tracestate", "congo=t61rcWkgMzE".parse().unwrap());
    request
}

#[tokio::test]
async fn the_trace_of_a_submission_reaches_its_worker_across_a_restart() {
    let mut server = TestServer::start().await;
    let request = SubmitRequest { idempotency_key: "once".to_owned(), ..submission("a") };
    let submit = async |api: &Api, parent: &str| {
        let mut operations = api.operations();
        let submitted = operations.submit(traced(request.clone(), parent));
        soon(submitted).await.unwrap().into_inner()
    };
    let submitted = submit(&server.api, PARENT).await;
    assert_eq!((&*submitted.trace_parent, &*submitted.trace_state), (PARENT, "congo=t61rcWkgMzE"));
    let again = submit(&server.api, OTHER).await;
    assert_eq!(
        (again.name, &*again.trace_parent),
        (submitted.name.clone(), PARENT),
        "it is the same"
    );
    server.restart().await;
    let mut worker = server.worker("a", 1).await;
    let given = worker.assignment().await.operation.unwrap();
    assert_eq!((given.name, &*given.trace_parent), (submitted.name, PARENT));
    assert_eq!(given.trace_state, "congo=t61rcWkgMzE");
}

#[tokio::test]
async fn each_of_a_batch_has_the_trace_and_what_is_no_trace_is_none() {
    let server = TestServer::start().await;
    let requests = vec![submission("a"), submission("b")];
    let mut operations = server.operations();
    let batch =
        operations.submit_batch(traced(SubmitBatchRequest { requests, batch: None }, PARENT));
    for result in soon(batch).await.unwrap().into_inner().results {
        let Some(submit_batch_result::Outcome::Operation(operation)) = result.outcome else {
            panic!("{result:?}")
        };
        assert_eq!(operation.trace_parent, PARENT);
    }
    for wrong in ["00-0-0-00", "00-00000000000000000000000000000000-b7ad6b7169203331-00"] {
        let submitted = operations.submit(traced(submission("a"), wrong));
        assert_eq!(soon(submitted).await.unwrap().into_inner().trace_parent, "");
    }
    assert_eq!(server.submit(submission("a")).await.trace_parent, "");
}
