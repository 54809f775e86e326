//! Azure's pollers, as its SDKs use them, against `Operation-Location`.

use serde_json::json;

use crate::support::{Server, node, python};

const HANDLERS: [&str; 6] = [
    "--handler",
    "shout=tr a-z A-Z",
    "--handler",
    "nothing=true",
    "--handler",
    "fail=echo no device 7 >&2; exit 3",
];

#[tokio::test]
async fn azures_poller_for_python_reaches_success_failure_and_cancellation() {
    let server = Server::start(&HANDLERS);
    let outcomes = python("azure_poller.py", &[&server.url]).await;
    let expected = json!({
        "success": {"status": "Succeeded", "body": "HELLO", "content_type": "text/plain; charset=utf-8"},
        "nothing": {"status": "Succeeded", "body": null, "content_type": null},
        "failure": {"status": "Failed", "code": "EXIT_3", "message": "no device 7"},
        "cancelled": {"status": "Canceled", "code": "CANCELLED", "message": "the operation was cancelled"},
    });
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn azures_poller_for_javascript_reaches_success_failure_and_cancellation() {
    let server = Server::start(&HANDLERS);
    let paths = ["/v1/kinds/{kind}/operations", "/v1/operations/{id}:cancel"];
    let outcomes = node("core_lro.mjs", &[&server.url, paths[0], paths[1]]).await;
    let text = "text/plain; charset=utf-8";
    let expected = json!({
        "success": {"state": "succeeded", "status": "200", "content_type": text, "body": "HELLO"},
        "nothing": {"state": "succeeded", "status": "204", "content_type": null},
        "failure": {
            "state": "failed",
            "message": "The long-running operation has failed. EXIT_3. no device 7",
        },
        "cancelled": {"state": "canceled", "message": "Operation was canceled"},
    });
    assert_eq!(outcomes, expected);
}
