//! Google's REST transports: the same operations under their tenants, in the JSON of `google.longrunning`.

use bytes::Bytes;
use longrun::operation::{Payload, PayloadForm};
use longrun::service::Report;
use serde_json::{Value, json};

use crate::support::{Answer, JSON, Server, csv, failure};

const OPERATIONS: &str = "/v1/tenants/default/operations";

/// The path of an operation for Google's clients.
fn named(path: &str) -> String {
    path.replace("/v1/", "/v1/tenants/default/")
}

/// An error as Google's clients read it: the details by their types.
#[track_caller]
fn refused(answer: Answer, status: u16, name: &str, reason: &str) -> Vec<Value> {
    let answer = answer.expect(status);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("longrun-error-source"), "gateway");
    let error = answer.json()["error"].clone();
    assert_eq!((&error["code"], &error["status"]), (&json!(status), &json!(name)), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    let details = error["details"].as_array().expect("details").clone();
    assert_eq!(details[0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(details[0]["reason"], reason, "{error}");
    assert_eq!(details[0]["domain"], "longrun");
    details
}

#[tokio::test]
async fn an_operation_is_googles_under_its_tenant_and_longruns_without() {
    let server = Server::start().await;
    let path = server.submit("report").await;
    let operation = server.get(&named(&path)).await.expect(200).json();
    let name = named(&path).replace("/v1/", "");
    assert_eq!(operation["name"], name);
    assert!(operation.get("done").is_none() && operation.get("response").is_none());
    let metadata = &operation["metadata"];
    assert_eq!(metadata["@type"], "type.googleapis.com/longrun.v1.OperationMetadata");
    assert_eq!(metadata["operation"]["state"], "STATE_QUEUED");
    server.get(&path).await.expect(202);

    let mut worker = server.work("report").await;
    worker.complete(Some(csv())).await;
    // As Google's generated clients ask.
    let asked = format!("{}?$alt=json;enum-encoding=int", named(&path));
    assert_eq!(server.open("GET", &asked, &[], "").await.status(), 200);
    let done = server.get(&named(&path)).await.expect(200).json();
    let body = json!({
        "@type": "type.googleapis.com/google.api.HttpBody",
        "contentType": "text/csv; header=present",
        "data": "YSxiCv8=",
    });
    assert_eq!((&done["done"], &done["response"]), (&json!(true), &body));
    assert!(done.get("error").is_none());
    server.get(&path).await.expect(303);
    server.get(&format!("{}/result", named(&path))).await.expect(200);

    // Empty has no `value`, which most readers would take for an unknown field.
    let path = server.submit("report").await;
    worker.complete(None).await;
    let nothing = server.get(&named(&path)).await.expect(200).json();
    assert_eq!(nothing["response"], json!({"@type": "type.googleapis.com/google.protobuf.Empty"}));

    let path = server.submit("report").await;
    let number = Payload::new(PayloadForm::Json, "", Bytes::from_static(b"[1.5]"));
    worker.complete(Some(number)).await;
    let number = server.get(&named(&path)).await.expect(200).json();
    let value = json!({"@type": "type.googleapis.com/google.protobuf.Value", "value": [1.5]});
    assert_eq!(number["response"], value);

    let path = server.submit("report").await;
    worker
        .report(Report::Fail {
            error: failure("DeviceNotExists"),
            is_final: true,
            retry_delay: None,
        })
        .await;
    let failed = server.get(&named(&path)).await.expect(200).json();
    let info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "DeviceNotExists",
        "domain": "report",
        "metadata": {"device": "7"},
    });
    assert_eq!(failed["error"], json!({"code": 5, "message": "no device 7", "details": [info]}));
}

#[tokio::test]
async fn without_a_tenant_alt_asks_for_googles_form() {
    let server = Server::start().await;
    let path = server.submit("nobody").await;
    let name = path.replace("/v1/", "");
    let with_alt = |path: &str| format!("{path}?$alt=json;enum-encoding=int");
    let (here, all) = (with_alt(&path), with_alt("/v1/operations"));
    let operation = server.get(&here).await.expect(200).json();
    // The client asks again by this name, under the same path.
    assert_eq!(operation["name"], name);
    assert_eq!(operation["metadata"]["operation"]["state"], "STATE_QUEUED");
    let page = server.get(&format!("{all}&filter=kind%3Dnobody&pageSize=2")).await.expect(200);
    assert_eq!(page.json()["operations"][0], operation);
    refused(
        server.get(&format!("{all}&nonsense=1")).await,
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
    );
    refused(
        server.ask("DELETE", &here, &[], "").await,
        400,
        "FAILED_PRECONDITION",
        "OPERATION_NOT_DONE",
    );

    let cancel = with_alt(&format!("{path}:cancel"));
    let body = json!({"name": name}).to_string();
    let cancelled = server.ask("POST", &cancel, &[JSON], body).await.expect(200);
    assert_eq!(cancelled.json(), json!({}));
    let ended = server.get(&here).await.expect(200).json();
    assert_eq!((&ended["done"], &ended["error"]["code"]), (&json!(true), &json!(1)));
    assert_eq!(server.ask("DELETE", &here, &[], "").await.expect(200).json(), json!({}));
    refused(server.get(&here).await, 404, "NOT_FOUND", "OPERATION_NOT_FOUND");

    // No other parameter of this form makes it Google's, and what Google's has not, has no such parameter.
    server.get("/v1/operations?$filter=a").await.expect(400);
    let submission = r#"{"kind": "nobody"}"#;
    assert_eq!(server.open("POST", &all, &[JSON], submission).await.status(), 400);
}

#[tokio::test]
async fn a_cancel_and_a_deletion_are_answered_with_nothing() {
    let server = Server::start().await;
    let path = named(&server.submit("nobody").await);
    let early = server.ask("DELETE", &path, &[], "").await;
    refused(early, 400, "FAILED_PRECONDITION", "OPERATION_NOT_DONE");
    for (method, url) in [("DELETE", path.clone()), ("POST", format!("{path}:cancel"))] {
        let other = server.ask(method, &url, &[("if-match", "\"99\"")], "").await;
        refused(other, 400, "FAILED_PRECONDITION", "PRECONDITION_FAILED");
    }
    // As the clients send it: of the type, with no body.
    let cancelled = server.ask("POST", &format!("{path}:cancel"), &[JSON], "").await.expect(200);
    assert_eq!(cancelled.json(), json!({}));
    let again = server.ask("POST", &format!("{path}:cancel"), &[JSON], "{}").await.expect(200);
    assert_eq!(again.json(), json!({}));
    let ended = server.get(&path).await.expect(200).json();
    assert_eq!((&ended["done"], &ended["error"]["code"]), (&json!(true), &json!(1)));
    assert_eq!(server.ask("DELETE", &path, &[], "").await.expect(200).json(), json!({}));
    refused(server.get(&path).await, 404, "NOT_FOUND", "OPERATION_NOT_FOUND");
}

#[tokio::test]
async fn lists_come_in_pages_through_a_filter() {
    let server = Server::start().await;
    for kind in ["a", "b", "a", "a"] {
        server.submit(kind).await;
    }
    let first = format!("{OPERATIONS}?filter=kind%3Da&pageSize=2");
    let page = server.get(&first).await.expect(200).json();
    assert_eq!(page["operations"].as_array().unwrap().len(), 2);
    let token = page["nextPageToken"].as_str().unwrap();
    let last = server.get(&format!("{first}&pageToken={token}")).await.expect(200).json();
    assert_eq!(last["operations"].as_array().unwrap().len(), 1);
    assert!(last.get("nextPageToken").is_none());
    assert!(
        last["operations"][0]["name"].as_str().unwrap().starts_with("tenants/default/operations/")
    );
    // longrun's own list is where it was.
    let own = server.get("/v1/operations").await.expect(200).json();
    assert!(own["operations"][0]["name"].as_str().unwrap().starts_with("operations/"));
}

#[tokio::test]
async fn refusals_have_googles_form_and_the_statuses_of_their_codes() {
    let server = Server::start().await;
    let unknown = "0190a1b2-0000-7000-8000-000000000000";
    let absent = server.get(&format!("{OPERATIONS}/{unknown}")).await;
    refused(absent, 404, "NOT_FOUND", "OPERATION_NOT_FOUND");
    let path = server.submit("nobody").await;
    let others = server.get(&path.replace("/v1/", "/v1/tenants/other/")).await;
    refused(others, 404, "NOT_FOUND", "OPERATION_NOT_FOUND");
    let others = server.get("/v1/tenants/other/operations").await;
    refused(others, 404, "NOT_FOUND", "OPERATION_NOT_FOUND");
    let nobodys = server.get("/v1/tenants//operations").await;
    nobodys.problem(404, "ROUTE_NOT_FOUND");
    for (path, field) in [
        (format!("{OPERATIONS}/x"), "name"),
        (format!("{OPERATIONS}?pageSize=-1"), "page_size"),
        (format!("{OPERATIONS}?filter=%3D"), "filter"),
        (format!("{OPERATIONS}?piority=3"), "piority"),
        ("/v1/tenants/A/operations".to_owned(), "tenant"),
    ] {
        let details = refused(server.get(&path).await, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT");
        assert_eq!(details[1]["@type"], "type.googleapis.com/google.rpc.BadRequest");
        assert_eq!(details[1]["fieldViolations"][0]["field"], field, "{path}");
    }
    let partial = server.get(&format!("{OPERATIONS}?returnPartialSuccess=true")).await;
    refused(partial, 501, "UNIMPLEMENTED", "UNSUPPORTED");
    let text = [("content-type", "text/plain")];
    let typed = server.ask("POST", &format!("{}:cancel", named(&path)), &text, "why").await;
    refused(typed, 400, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE");
    let body = json!({"name": format!("operations/{unknown}")}).to_string();
    let other = server.ask("POST", &format!("{}:cancel", named(&path)), &[JSON], body).await;
    refused(other, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT");
}
