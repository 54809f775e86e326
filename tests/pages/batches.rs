//! The page of a batch: its children by state, and the way between them and it.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn a_batch_shows_its_children_and_a_child_its_batch() {
    let server = Server::start(&["--handler", "ok=cat", "--handler", "bad=exit 1"]).await;
    let once = json!({"retryPolicy": {"maxAttempts": 1}});
    let request = |kind: &str| json!({"kind": kind, "settings": once});
    let document = json!({
        "batch": {"rule": "RULE_MAX_FAILURES", "maxFailures": 5, "expectedChildren": 4},
        "requests": [request("ok"), request("bad"), request("nobody")],
    });
    let headers = [("content-type", "application/json")];
    let stored = server.ask("POST", "/v1/batches", &headers, &document.to_string()).await;
    let stored: Value = serde_json::from_str(&stored.expect(202).body).unwrap();
    let id = |operation: &Value| {
        operation["name"].as_str().unwrap().trim_start_matches("operations/").to_owned()
    };
    let batch = id(&stored["batch"]);
    let children: Vec<String> =
        stored["results"].as_array().unwrap().iter().map(|it| id(&it["operation"])).collect();
    server.until(&children[0], "SUCCEEDED").await;
    server.until(&children[1], "FAILED").await;
    let path = format!("/ui/operations/{batch}");
    let mut page = server.page(&path).await.expect(200);
    // Counts may be a quarter of a second old.
    for _ in 0..50 {
        if page.body.contains("2 of 3 have ended") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        page = server.page(&path).await.expect(200);
    }
    let page = page.has("Children").has("3 in all").has("2 of 3 have ended");
    let page = page.has("As a list").has_not("Start one like it");
    // What failed is first, what is done is last.
    let place = |at: usize| page.body.find(&format!("href=\"../operations/{}\"", children[at]));
    let places = [1, 2, 0].map(|at| place(at).expect("a child"));
    assert!(places.is_sorted(), "{places:?}");
    page.has(&format!("filter=parent%3D%22{batch}%22%20AND%20state%3DFAILED"));
    let child = server.page(&format!("/ui/operations/{}", children[2])).await.expect(200);
    child.has("Child of").has(&batch).has_not("3 in all");
    server.page("/ui/operations?filter=parent%3A*").await.expect(200).has(&children[2][28..]);
}
