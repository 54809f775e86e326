//! Azure's poller, as its SDKs use it, against `Operation-Location`.

use serde_json::json;

use crate::support::{Server, python};

#[tokio::test]
async fn azures_poller_reaches_success_failure_and_cancellation() {
    let server = Server::start(&[
        "--handler",
        "shout=tr a-z A-Z",
        "--handler",
        "nothing=true",
        "--handler",
        "fail=echo no device 7 >&2; exit 3",
    ]);
    let outcomes = python("azure_poller.py", &[&server.url]).await;
    let expected = json!({
        "success": {"status": "Succeeded", "body": "HELLO", "content_type": "text/plain; charset=utf-8"},
        "nothing": {"status": "Succeeded", "body": null, "content_type": null},
        "failure": {"status": "Failed", "code": "EXIT_3", "message": "no device 7"},
        "cancelled": {"status": "Canceled", "code": "CANCELLED", "message": "the operation was cancelled"},
    });
    assert_eq!(outcomes, expected);
}
