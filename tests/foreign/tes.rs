//! GA4GH's client for Python against the dialect of its Task Execution Service.

use serde_json::json;

use crate::support::{Server, python};

const MOUNT: &str = r#"
[[dialect]]
use = "ga4gh-tes"
prefix = "/ga4gh/tes/v1"

[[dialect.submit]]
path = "/tasks"
kind = "task"
"#;

/// Does what the name of the executor's command says.
const HANDLER: &str = r#"task=case "$(cat)" in
    *'"shout"'*) printf HELLO ;;
    *'"fail"'*) echo no such file >&2; exit 3 ;;
    *) exec sleep 600 ;;
esac"#;

#[tokio::test]
async fn py_tes_creates_waits_lists_and_cancels() {
    let server = Server::start_with(&["--handler", HANDLER], Some(MOUNT));
    let outcomes = python("py_tes.py", &[&server.url]).await;
    let basic = json!({
        "state": "COMPLETE",
        "name": "first",
        "inputs": [{"path": "/data/a", "type": "FILE"}],
        "executors": [{"image": "alpine", "command": ["shout"]}],
        "tags": {"project": "x"},
        "logs": [{"logs": [{"exit_code": 0}], "outputs": []}],
    });
    let mut full = basic.clone();
    full["inputs"][0]["content"] = "hello".into();
    full["logs"][0]["logs"][0]["stdout"] = "HELLO".into();
    full["logs"][0]["system_logs"] = json!([]);
    let log = json!({
        "logs": [{"exit_code": 3, "stderr": "no such file"}],
        "outputs": [],
        "system_logs": ["no such file"],
    });
    let (first, second, third) =
        (["first", "COMPLETE"], ["second", "EXECUTOR_ERROR"], ["third", "CANCELED"]);
    let expected = json!({
        "service": ["ga4gh-tes", "tes", "1.1.0"],
        "views": {"MINIMAL": {"state": "COMPLETE"}, "BASIC": basic, "FULL": full},
        "failed": ["EXECUTOR_ERROR", [log]],
        "cancelled": "CANCELED",
        "pages": [[third, second], [first]],
        "listed": ["third", "second", "first"],
        "unknown": 404,
    });
    assert_eq!(outcomes, expected, "{outcomes:#}");
}
