//! Google's client library for Python, as generated clients use it, over gRPC, asyncio and REST.

use std::path::Path;

use serde_json::json;

use crate::support::{Server, python};

#[tokio::test]
async fn googles_futures_end_as_their_operations_do() {
    let server = Server::start(&[
        "--handler",
        "shout=tr a-z A-Z",
        "--handler",
        r#"json=printf '{"a": 1.5}'"#,
        "--handler",
        "nothing=true",
        "--handler",
        "fail=echo no device 7 >&2; exit 3",
    ]);
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto").display().to_string();
    let outcomes = python("google_clients.py", &[&server.url, &protos]).await;
    let details = ["google.rpc.ErrorInfo"];
    let result = json!(["text/plain; charset=utf-8", "HELLO"]);
    let metadata = json!(["shout", "STATE_SUCCEEDED"]);
    let exception = |class: &str| json!([class, 2, "no device 7", details]);
    let cancelled = |class: &str| json!([class, 1, "the operation was cancelled", details]);
    let life = json!({
        "result": result,
        "metadata": metadata,
        "json": ["value", 1.5],
        "nothing": ["empty"],
        "exception": exception("Unknown"),
        // The future gave up; the operation went on.
        "timeout": false,
        "cancelled": true,
        "cancelled exception": cancelled("Cancelled"),
        "deleted": "NotFound",
    });
    let mut with_grpc = life.clone();
    with_grpc["pages"] = json!([50, 10]);
    let mut with_rest = life;
    with_rest["pages"] = json!([25, 25, 10]);
    with_rest["refused"] = json!(["INVALID_ARGUMENT", "longrun"]);
    // Which tells exceptions apart by their codes alone.
    let any = "GoogleAPICallError";
    let with_asyncio = json!({
        "result": result,
        "metadata": metadata,
        "exception": exception(any),
        "cancelled": true,
        "cancelled exception": cancelled(any),
        "deleted": "NotFound",
    });
    let waits = json!([true, "response", false, null]);
    assert_eq!(outcomes["grpc"], with_grpc);
    assert_eq!(outcomes["rest"], with_rest);
    assert_eq!(outcomes["asyncio"], with_asyncio);
    assert_eq!(outcomes["wait"], waits);
}
