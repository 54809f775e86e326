//! OpenAI's client for Python against the dialect of its responses in the background.

use serde_json::json;

use crate::support::{Server, python};

const MOUNT: &str = r#"
[[dialect]]
use = "openai-responses"
prefix = "/openai/v1"

[[dialect.submit]]
path = "/responses"
kind = "response"
"#;

/// A model: it shouts what it is told, unless it is told to fail or to sleep.
const HANDLER: &str = r#"response=case "$(cat)" in
    *'"fail"'*) echo no such thought >&2; exit 3 ;;
    *'"sleep"'*) exec sleep 600 ;;
    *'"hello"'*) printf HELLO ;;
    *) printf STREAMED ;;
esac"#;

#[tokio::test]
async fn openais_client_creates_polls_streams_resumes_cancels_and_deletes() {
    let server = Server::start_with(&["--handler", HANDLER], Some(MOUNT));
    let url = format!("{}/openai/v1", server.url);
    let outcomes = python("openai_responses.py", &[&url]).await;
    let expected = json!({
        "completed": ["completed", "HELLO", "shout", {"a": "b"}, true],
        "input": "hello",
        "failed": ["failed", "EXIT_3", "no such thought", ""],
        "cancelled": "cancelled",
        "stream": [
            "response.created",
            "response.queued",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ],
        "text": "STREAMED",
        "final": "STREAMED",
        "accumulated": "response.completed",
        "deleted": "operation_not_found",
    });
    assert_eq!(outcomes, expected, "{outcomes:#}");
}
