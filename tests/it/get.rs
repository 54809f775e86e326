//! Getting an operation: by which names, and how much of it.

use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

fn get(name: &str, view: i32) -> GetOperationRequest {
    GetOperationRequest { name: name.to_owned(), view }
}

#[tokio::test]
async fn an_operation_is_found_by_its_id_and_both_forms_of_its_name() {
    let server = TestServer::start().await;
    let operation = server.submit(submission("demo")).await;
    let id = operation.name.strip_prefix("operations/").unwrap();
    for name in [id, &format!("operations/{id}"), &format!("tenants/default/operations/{id}")] {
        assert_eq!(server.get(name).await, operation);
    }
}

#[tokio::test]
async fn another_tenants_name_or_an_unknown_id_is_not_found() {
    let server = TestServer::start().await;
    let operation = server.submit(submission("demo")).await;
    let theirs = format!("tenants/other/{}", operation.name);
    let unknown = "operations/01890000-0000-7000-8000-000000000000".to_owned();
    for name in [theirs, unknown] {
        let refused = soon(server.operations().get_operation(get(&name, 0))).await.refused();
        refused.is_not_found();
        let id = name.rsplit_once('/').unwrap().1;
        assert_eq!(refused.metadata["operation"], format!("operations/{id}"));
    }
}

#[tokio::test]
async fn what_is_no_name_is_refused_by_every_rpc_that_takes_one() {
    let server = TestServer::start().await;
    let id = "01890000-0000-7000-8000-000000000000";
    let bad = [
        "".to_owned(),
        "operations/".to_owned(),
        "operations/nonsense".to_owned(),
        format!("operation/{id}"),
        format!("operations/{id}/"),
        format!("/operations/{id}"),
        format!("tenants//operations/{id}"),
        format!("tenants/Default/operations/{id}"),
        format!("tenants/default/{id}"),
        format!("{{{id}}}"),
        id.replace('-', ""),
        id.replace("01890000", "0189ABCD"),
    ];
    let mut rpc = server.operations();
    for name in bad {
        let name = || name.clone();
        let refusals = [
            soon(rpc.get_operation(get(&name(), 0))).await.refused(),
            soon(rpc.wait_operation(WaitOperationRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
            soon(rpc.watch_operation(watch_now(&name()))).await.refused(),
            soon(
                rpc.cancel_operation(CancelOperationRequest { name: name(), ..Default::default() }),
            )
            .await
            .refused(),
            soon(rpc.delete_operation(DeleteOperationRequest { name: name() })).await.refused(),
            soon(rpc.retry_operation(RetryOperationRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
            soon(rpc.list_events(ListEventsRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
            soon(rpc.read_result(ReadResultRequest { name: name(), ..Default::default() }))
                .await
                .refused(),
        ];
        for refused in refusals {
            refused.is_about("name").is(Code::InvalidArgument, "INVALID_ARGUMENT");
        }
    }
}

#[tokio::test]
async fn views_say_how_much_of_the_payloads_is_carried() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(text("input")), ..submission("demo") };
    let name = server.submit(request).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, Some(text("result"))).await;
    let cases = [
        (OperationView::Unspecified, true, true),
        (OperationView::Basic, false, false),
        (OperationView::Result, false, true),
        (OperationView::Full, true, true),
    ];
    for (view, input, result) in cases {
        let request = get(&name, view.into());
        let operation = soon(server.operations().get_operation(request)).await.unwrap();
        let operation = operation.into_inner();
        for (payload, carried, size) in
            [(operation.input.unwrap(), input, 5), (operation.result.unwrap(), result, 6)]
        {
            assert_eq!(payload.content.is_some(), carried, "{view:?}");
            assert_eq!(payload.omitted, !carried, "{view:?}");
            assert_eq!(payload.size_bytes, size);
            assert_eq!(payload.content_type, "text/plain; charset=utf-8");
        }
    }
    soon(server.operations().get_operation(get(&name, 77))).await.refused().is_about("view");
}
