//! The calls of `google.longrunning.Operations`: lists, waits, deletions, names, and when an operation is there.

use std::time::Duration;

use longrun::proto::google::longrunning::{
    DeleteOperationRequest, GetOperationRequest, ListOperationsRequest, WaitOperationRequest,
};
use longrun::proto::v1::WatchOperationsRequest;
use longrun::proto::v1::watch_operations_response::Type as FeedType;
use tonic::{Code, Request};

use crate::google::{error, get, list, metadata, named, rpc};
use crate::support::*;

#[tokio::test]
async fn an_operation_can_be_read_as_soon_as_anybody_hears_of_it() {
    let server = TestServer::start().await;
    let mut feed = server.watch_all(WatchOperationsRequest::default()).await;
    assert_eq!(feed.next().await.r#type(), FeedType::Synced);
    for _ in 0..20 {
        let api = server.api.clone();
        let submitting = spawn(async move { api.submit(submission("demo")).await });
        let heard = feed.next().await.operation.unwrap();
        // Whatever the submitter has been answered by now.
        assert_eq!(metadata(&get(&server, &heard.name).await).name, heard.name);
        assert_eq!(soon(submitting).await.unwrap().name, heard.name);
    }
}

#[tokio::test]
async fn lists_come_in_pages_through_a_filter_and_of_the_callers_own_tenant() {
    let server = TestServer::start().await;
    let mut names = Vec::new();
    for _ in 0..5 {
        names.push(named(&server.submit(submission("demo")).await.name));
    }
    server.submit(submission("other")).await;
    names.reverse();
    for parent in ["", "operations", "tenants/default", "tenants/default/operations"] {
        let mut request = ListOperationsRequest {
            name: parent.to_owned(),
            filter: "kind=demo".to_owned(),
            page_size: 2,
            ..ListOperationsRequest::default()
        };
        let (mut listed, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let page = list(&server, request.clone()).await;
            sizes.push(page.operations.len());
            page.operations.iter().for_each(|operation| drop(metadata(operation)));
            listed.extend(page.operations.into_iter().map(|operation| operation.name));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!((&listed, sizes), (&names, vec![2, 2, 1]), "{parent}");
    }
    let many = ListOperationsRequest { page_size: 5_000, ..ListOperationsRequest::default() };
    assert_eq!(list(&server, many).await.operations.len(), 6);

    let refused = async |request: ListOperationsRequest| {
        soon(rpc(&server).list_operations(request)).await.refused()
    };
    let of = |name: &str| ListOperationsRequest { name: name.to_owned(), ..Default::default() };
    refused(of("tenants/other")).await.is_not_found();
    for wrong in ["projects/x", "tenants/", "tenants/A", "tenants/default/operations/"] {
        refused(of(wrong)).await.is_about("name");
    }
    refused(ListOperationsRequest { page_size: -1, ..of("") }).await.is_about("page_size");
    refused(ListOperationsRequest { filter: "nonsense=1".to_owned(), ..of("") })
        .await
        .is_about("filter");
    let partial = ListOperationsRequest { return_partial_success: true, ..of("") };
    refused(partial).await.is(Code::Unimplemented, "UNSUPPORTED");
}

#[tokio::test]
async fn a_wait_ends_with_the_operation_or_its_time_and_both_are_success() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let wait = |timeout| WaitOperationRequest { name: named(&name), timeout };
    let still = soon(rpc(&server).wait_operation(wait(seconds(0)))).await.unwrap().into_inner();
    assert_eq!(still, get(&server, &name).await);
    let mut request = Request::new(wait(None));
    request.set_timeout(Duration::from_secs(1));
    let still = soon(rpc(&server).wait_operation(request)).await.unwrap().into_inner();
    assert!(!still.done);
    soon(rpc(&server).wait_operation(wait(seconds(-1)))).await.refused().is_about("timeout");

    let (mut waiting, request) = (rpc(&server), wait(None));
    let waiter = spawn(async move { waiting.wait_operation(request).await });
    server.cancel(&name, "").await;
    let done = soon(waiter).await.unwrap().unwrap().into_inner();
    assert_eq!(done, get(&server, &name).await);
    assert_eq!(error(&done).0.code, 1);
}

#[tokio::test]
async fn deleting_forgets_what_is_done_and_does_not_cancel() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let delete = || DeleteOperationRequest { name: named(&name) };
    let refused = soon(rpc(&server).delete_operation(delete())).await.refused();
    refused.is(Code::FailedPrecondition, "OPERATION_NOT_DONE");
    assert!(!get(&server, &name).await.done);
    server.cancel(&name, "").await;
    soon(rpc(&server).delete_operation(delete())).await.unwrap();
    soon(rpc(&server).delete_operation(delete())).await.refused().is_not_found();
}

#[tokio::test]
async fn names_are_taken_as_longrun_has_them_and_another_tenants_are_not_found() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let get =
        async |name: String| soon(rpc(&server).get_operation(GetOperationRequest { name })).await;
    assert_eq!(get(name.clone()).await.unwrap().into_inner().name, named(&name));
    get(format!("tenants/other/{name}")).await.refused().is_not_found();
    get("operations/01890000-0000-7000-8000-000000000000".to_owned())
        .await
        .refused()
        .is_not_found();
    get("operations/x".to_owned()).await.refused().is_about("name");
}
