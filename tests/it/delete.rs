//! Deleting: only what is done, and then all of it.

use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

#[tokio::test]
async fn what_is_not_done_is_not_deleted() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let request = DeleteOperationRequest { name: name.clone() };
    let refused = soon(server.operations().delete_operation(request.clone())).await.refused();
    refused.is(Code::FailedPrecondition, "OPERATION_NOT_DONE");
    assert_eq!(refused.metadata["operation"], name);
    let mut worker = server.worker("demo", 1).await;
    worker.assignment().await;
    let refused = soon(server.operations().delete_operation(request)).await.refused();
    refused.is(Code::FailedPrecondition, "OPERATION_NOT_DONE");
    assert_eq!(server.get(&name).await.state(), operation::State::Running);
}

#[tokio::test]
async fn what_is_deleted_is_gone_everywhere() {
    let mut server = TestServer::start().await;
    let request = SubmitRequest { input: Some(text("input")), ..submission("demo") };
    let name = server.submit(request).await.name;
    let kept = server.submit(submission("kept")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.log(&assignment, &["a line"]).await;
    worker.complete(&assignment, Some(text("result"))).await;
    server.delete(&name).await;
    drop(worker);

    for restarted in [false, true] {
        let mut rpc = server.operations();
        let name = || name.clone();
        let refusals = [
            soon(rpc.get_operation(GetOperationRequest { name: name(), view: 0 })).await.refused(),
            soon(rpc.wait_operation(WaitOperationRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
            soon(rpc.watch_operation(watch_now(&name()))).await.refused(),
            soon(rpc.list_events(ListEventsRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
            soon(rpc.read_result(ReadResultRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
            soon(rpc.retry_operation(RetryOperationRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
            soon(
                rpc.cancel_operation(CancelOperationRequest { name: name(), ..Default::default() }),
            )
            .await
            .refused(),
            soon(rpc.delete_operation(DeleteOperationRequest { name: name() })).await.refused(),
        ];
        for refused in refusals {
            refused.is_not_found();
        }
        assert_eq!(server.matching("").await, std::slice::from_ref(&kept), "{restarted}");
        if !restarted {
            server.restart().await;
        }
    }
}
