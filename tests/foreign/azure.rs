//! Azure's pollers, as its SDKs use them, against `Operation-Location`.

use serde_json::{Value, json};

use crate::support::{Server, node, python};

const HANDLERS: [&str; 6] = [
    "--handler",
    "shout=tr a-z A-Z",
    "--handler",
    "nothing=true",
    "--handler",
    "fail=echo no device 7 >&2; exit 3",
];

/// Where the service itself takes submissions and cancels.
const NATIVE: [&str; 2] = ["/v1/kinds/{kind}/operations", "/v1/operations/{id}:cancel"];

/// Where the dialect does, mounted as below.
const DIALECT: [&str; 2] = ["/azure/{kind}:start", "/azure/operations/{id}:cancel"];

const MOUNT: &str = r#"
[[dialect]]
use = "operation-location"
prefix = "/azure"

[[dialect.submit]]
path = "/{kind}:start"
kind = "{kind}"
kinds = ["shout", "nothing", "fail", "nobody"]
"#;

#[tokio::test]
async fn the_poller_for_python_reaches_success_failure_and_cancellation() {
    let server = Server::start_with(&HANDLERS, Some(MOUNT));
    let text = "text/plain; charset=utf-8";
    let expected = json!({
        "success": {"status": "Succeeded", "body": "HELLO", "content_type": text},
        "nothing": {"status": "Succeeded", "body": null, "content_type": null},
        "failure": {"status": "Failed", "code": "EXIT_3", "message": "no device 7"},
        "cancelled": {
            "status": "Canceled",
            "code": "CANCELLED",
            "message": "the operation was cancelled",
        },
    });
    for [submit, cancel] in [NATIVE, DIALECT] {
        let mut outcomes = python("azure_poller.py", &[&server.url, submit, cancel]).await;
        monitor_for_result(&mut outcomes["nothing"]);
        assert_eq!(outcomes, expected, "{submit}");
    }
}

#[tokio::test]
async fn the_poller_for_javascript_reaches_success_failure_and_cancellation() {
    let server = Server::start_with(&HANDLERS, Some(MOUNT));
    let text = "text/plain; charset=utf-8";
    let expected = json!({
        "success": {"state": "succeeded", "body": "HELLO", "content_type": text},
        "nothing": {"state": "succeeded", "body": null, "content_type": null},
        "failure": {
            "state": "failed",
            "message": "The long-running operation has failed. EXIT_3. no device 7",
        },
        "cancelled": {"state": "canceled", "message": "Operation was canceled"},
    });
    for [submit, cancel] in [NATIVE, DIALECT] {
        let mut outcomes = node("core_lro.mjs", &[&server.url, submit, cancel]).await;
        monitor_for_result(&mut outcomes["nothing"]);
        assert_eq!(outcomes, expected, "{submit}");
    }
}

/// Where a monitor names no place of a result, pollers take the monitor for it.
fn monitor_for_result(outcome: &mut Value) {
    if outcome["content_type"] == "application/json" {
        let body = outcome["body"].take();
        let body =
            body.as_str().map_or_else(|| body.clone(), |text| serde_json::from_str(text).unwrap());
        assert_eq!(body["status"], "Succeeded");
        assert_eq!(body.get("result"), None);
        outcome["content_type"].take();
    }
}
