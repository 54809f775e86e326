//! What pages tell of kinds, workers and the server: limits and how full they are, and what workers do now.

use serde_json::{Value, json};

use crate::support::Server;

const LIMITS: &str = "
trace_url = \"http://traces.example/{trace_id}?x=1\"
[[limit]]
watches = 20
[[limit]]
kind = \"slow\"
running = 1
outstanding = 100
payload_bytes = 2048
";

#[tokio::test]
async fn limits_show_how_full_they_are_and_workers_what_they_do() {
    let slow = "slow=echo 3/4 copying >&3; until [ -e go ]; do sleep 0.05; done; cat";
    let server =
        Server::start_with(&[("c.toml", LIMITS)], &["--config", "c.toml", "--handler", slow]).await;
    let running = server.submit_until("slow", "RUNNING").await;
    let waiting = server.submit("", json!({"kind": "slow"})).await;
    server.stream("/ui/workers/live", "", "75 %").await;

    let kinds = server.page("/ui/kinds").await.expect(200);
    kinds.has("running 1 of 1").has("outstanding 2 of 100").has("payload-bytes 2.0 KiB");
    let workers = server.page("/ui/workers").await.expect(200);
    workers.has(&format!("operations/{running}")).has("75 %").has_not(&waiting);
    let system = server.page("/ui/system").await.expect(200);
    system
        .has("<meter min=\"0\" max=\"1\" value=\"1\" aria-label=\"running of kind slow\">")
        .has("<bdi>0 of 20</bdi>")
        .has("Commits took (50 · 95 · 99 %)</dt>")
        .has("Sessions of workers, at this server</dt><dd><bdi>1</bdi>");

    let listed = server.ask("GET", "/v1/kinds", &[], "").await.expect(200);
    let listed: Value = serde_json::from_str(&listed.body).unwrap();
    let limits = listed["kinds"][0]["limits"].as_array().unwrap();
    let use_of = |what: &str| limits.iter().find(|it| it["what"] == what).unwrap();
    assert_eq!(use_of("running"), &json!({"what": "running", "most": "1", "used": "1"}));
    assert_eq!(use_of("payload-bytes"), &json!({"what": "payload-bytes", "most": "2048"}));
    let listed = server.ask("GET", "/v1/workers", &[], "").await.expect(200);
    let listed: Value = serde_json::from_str(&listed.body).unwrap();
    assert_eq!(listed["workers"][0]["operations"], json!([format!("operations/{running}")]));
}

#[tokio::test]
async fn an_operation_shows_its_progress_over_time_and_a_link_to_its_trace() {
    let steps = "a=for i in 1 2 3; do echo $i/4 >&3; until [ -e $i ]; do sleep 0.02; done; done";
    let server =
        Server::start_with(&[("c.toml", LIMITS)], &["--config", "c.toml", "--handler", steps])
            .await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [("content-type", "application/json"), ("traceparent", &*parent)];
    let made = server.ask("POST", "/v1/operations", &headers, "{\"kind\":\"a\"}").await.expect(202);
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let path = format!("/ui/{}", made["name"].as_str().unwrap());
    for (at, told) in [(1, "25 %"), (2, "Progress · 50 %"), (3, "Progress · 75 %")] {
        server.stream(&format!("{path}/live"), "", told).await;
        std::fs::write(server.directory().join(at.to_string()), "").unwrap();
    }
    server.until(path.rsplit('/').next().unwrap(), "SUCCEEDED").await;
    let page = server.page(&path).await.expect(200);
    page.has("<polyline points=\"").has("Progress · 75 %").has(&format!(
        "<a class=\"id\" href=\"http://traces.example/{trace}?x=1\" rel=\"noreferrer\">"
    ));
}

#[tokio::test]
async fn the_worker_of_batches_is_no_capacity_and_a_batch_takes_no_limit() {
    let limit = "[[limit]]\nrunning = 2\n";
    let arguments = ["--config", "c.toml", "--handler", "ok=cat", "--handler-concurrency", "3"];
    let server = Server::start_with(&[("c.toml", limit)], &arguments).await;
    let batch = json!({"batch": {}, "requests": [{"kind": "nobody"}]}).to_string();
    let json = [("content-type", "application/json")];
    let made = server.ask("POST", "/v1/batches", &json, &batch).await.expect(202);
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let name = made["batch"]["name"].as_str().unwrap();
    server.until(name.rsplit('/').next().unwrap(), "RUNNING").await;

    let system = server.page("/ui/system").await.expect(200);
    system
        .has("<bdi>0 of 2</bdi>")
        .has("Workers</dt><dd><bdi>1</bdi>")
        .has("Their places</dt><dd><bdi>3</bdi>");
    let metrics = server.ask("GET", "/metrics", &[], "").await.expect(200);
    for line in ["longrun_worker_places 3", "longrun_worker_sessions{state=\"serving\"} 1"] {
        assert!(metrics.body.lines().any(|it| it == line), "{line}: {}", metrics.body);
    }
}
