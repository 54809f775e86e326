//! Metrics: what is counted is what was done, to the last one; and what is deployed beside the program names what it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use longrun::metrics::{Format, Metric};
use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::*;
use longrun::server::{Server, Stopped};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// A request over HTTP/1: the head of the response, and its body.
async fn get(addr: SocketAddr, path: &str, accept: &str) -> (String, String) {
    let mut stream = soon(TcpStream::connect(addr)).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The values of a scrape by their names with labels.
struct Values(BTreeMap<String, f64>);

impl Values {
    fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.map(|line| line.rsplit_once(' ').unwrap());
        Self(values.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect())
    }

    #[track_caller]
    fn are(&self, expected: &[(&str, f64)]) {
        for (name, value) in expected {
            assert_eq!(self.0.get(*name), Some(value), "{name} of {:#?}", self.0);
        }
    }

    /// The values of one metric by its labels.
    fn only(&self, metric: &str) -> Vec<(&str, f64)> {
        let of = self.0.iter().filter(|(name, _)| name.split('{').next() == Some(metric));
        of.map(|(name, value)| (name.strip_prefix(metric).unwrap(), *value)).collect()
    }
}

async fn scrape(addr: SocketAddr) -> Values {
    Values::of(&get(addr, "/metrics", "*/*").await.1)
}

/// The scrape in which these values are as expected: calls count when the answer has gone out, and sessions and commits
/// are shown after the answer that the test has seen.
async fn scraped(addr: SocketAddr, expected: &[(&str, f64)]) -> Values {
    let looking = async {
        loop {
            let values = scrape(addr).await;
            if expected.iter().all(|(name, value)| values.0.get(*name) == Some(value)) {
                return values;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), looking).await {
        Ok(values) => values,
        Err(_) => {
            scrape(addr).await.are(expected);
            panic!("only just")
        }
    }
}

#[tokio::test]
async fn what_was_done_is_what_is_counted() {
    let server = TestServer::with(|config| config.limits.max_outstanding = 3).await;
    let mut worker = server.worker("a", 1).await;
    for outcome in ["good", "good", "bad"] {
        server.submit(with_settings(submission("a"), attempts(1))).await;
        let assignment = worker.assignment().await;
        match outcome {
            "good" => worker.complete(&assignment, None).await,
            _ => worker.fail(&assignment, "BAD").await,
        }
    }
    let cancelled = server.submit(submission("b")).await.name;
    server.cancel(&cancelled, "").await;
    let running = server.submit(submission("a")).await.name;
    worker.assignment().await;
    for _ in 0..2 {
        server.submit(submission("b")).await;
    }
    let full = soon(server.operations().submit(submission("b"))).await.unwrap_err();
    assert_eq!(full.code(), tonic::Code::ResourceExhausted);
    let mut watch = server.watch(watch_now(&running)).await;
    watch.next().await;
    let _feed = server.watch_all(WatchOperationsRequest::default()).await;
    let nothing = GetOperationRequest { name: "operations/none".to_owned(), view: 0 };
    soon(server.operations().get_operation(nothing)).await.unwrap_err();
    get(server.addr, "/livez", "*/*").await;
    get(server.addr, "/nothing", "*/*").await;

    let grpc = |method: &str, code: &str| {
        format!(
            "longrun_grpc_calls_total{{method=\"longrun.v1.Operations/{method}\",code=\"{code}\"}}"
        )
    };
    let calls = [
        (grpc("Submit", "OK"), 7.0),
        (grpc("Submit", "RESOURCE_EXHAUSTED"), 1.0),
        (grpc("CancelOperation", "OK"), 1.0),
        (grpc("GetOperation", "INVALID_ARGUMENT"), 1.0),
    ];
    let mut expected: Vec<(&str, f64)> =
        calls.iter().map(|(name, it)| (name.as_str(), *it)).collect();
    expected.extend([
        ("longrun_http_requests_total{route=\"getLiveness\",code=\"200\"}", 1.0),
        ("longrun_http_requests_total{route=\"none\",code=\"404\"}", 1.0),
        ("longrun_worker_sessions{state=\"serving\"}", 1.0),
        ("longrun_watchers", 1.0),
        ("longrun_feeds", 1.0),
        // The worker's stream, and both watches.
        ("longrun_grpc_open_calls", 3.0),
        ("longrun_http_open_requests", 1.0),
    ]);
    let values = scraped(server.addr, &expected).await;
    values.are(&[
        ("longrun_submissions_total{kind=\"a\"}", 4.0),
        ("longrun_submissions_total{kind=\"b\"}", 3.0),
        ("longrun_transitions_total{kind=\"a\",state=\"QUEUED\"}", 4.0),
        ("longrun_transitions_total{kind=\"a\",state=\"RUNNING\"}", 4.0),
        ("longrun_transitions_total{kind=\"a\",state=\"SUCCEEDED\"}", 2.0),
        ("longrun_transitions_total{kind=\"a\",state=\"FAILED\"}", 1.0),
        ("longrun_transitions_total{kind=\"b\",state=\"QUEUED\"}", 3.0),
        ("longrun_transitions_total{kind=\"b\",state=\"RUNNING\"}", 0.0),
        ("longrun_transitions_total{kind=\"b\",state=\"CANCELLED\"}", 1.0),
        ("longrun_queued_operations{kind=\"a\"}", 0.0),
        ("longrun_queued_operations{kind=\"b\"}", 2.0),
        ("longrun_running_operations{kind=\"a\"}", 1.0),
        ("longrun_running_operations{kind=\"b\"}", 0.0),
        ("longrun_oldest_queued_age_seconds{kind=\"a\"}", 0.0),
        ("longrun_queue_duration_seconds_count{kind=\"a\"}", 4.0),
        ("longrun_attempt_duration_seconds_count{kind=\"a\"}", 3.0),
        ("longrun_operation_duration_seconds_count{kind=\"a\"}", 3.0),
        ("longrun_operation_duration_seconds_count{kind=\"b\"}", 1.0),
        ("longrun_refusals_total{limit=\"server-outstanding\"}", 1.0),
        ("longrun_refusals_total{limit=\"outstanding\"}", 0.0),
        ("longrun_worker_places", 1.0),
        ("longrun_store_writable", 1.0),
        ("longrun_store_outages_total", 0.0),
        // One for gRPC and one for the scrape.
        ("longrun_connections", 2.0),
    ]);
    assert!(values.0["longrun_oldest_queued_age_seconds{kind=\"b\"}"] > 0.0);
    // 7 submissions, 3 reports, a cancel: some of them may have shared a commit, and starts were in the same.
    let written = values.0["longrun_commit_operations_sum"];
    assert!((11.0..=15.0).contains(&written), "{written}");
    assert!(values.0["longrun_store_size_bytes"] > 4_096.0);
    assert!(values.0["process_resident_memory_bytes"] > 1e6);
    // Nothing is counted twice or elsewhere.
    let kinds: BTreeSet<&str> =
        values.only("longrun_submissions_total").into_iter().map(|(labels, _)| labels).collect();
    assert_eq!(kinds, BTreeSet::from(["{kind=\"a\"}", "{kind=\"b\"}"]));
    let submits = values.only("longrun_grpc_calls_total");
    assert_eq!(submits.iter().filter(|(labels, _)| labels.contains("/Submit\"")).count(), 2);
}

#[tokio::test]
async fn times_are_those_of_the_operations() {
    let server = ClockedServer::with(Tuning {
        lease_duration: Duration::from_secs(10),
        ..Tuning::default()
    })
    .await;
    let policy = attempts(2);
    let operation = server.submit(with_settings(submission("slow"), policy)).await;
    server.advance(Duration::from_secs(2));
    let mut worker = server.worker("slow", 1).await;
    worker.assignment().await;
    let mut watch = server.watch(watch_from(&operation.name, 2)).await;
    worker.disconnect();
    server.live_through(Duration::from_secs(10)).await;
    assert_eq!(watch.next().await.event.unwrap().r#type(), EventType::RetryScheduled);
    // Without a session nothing happens by the second.
    server.advance(Duration::from_secs(5));
    let mut worker = server.worker("slow", 1).await;
    let assignment = worker.assignment().await;
    server.advance(Duration::from_secs(3));
    worker.complete(&assignment, None).await;
    let looking = async {
        loop {
            let values = server.service.scrape().await.write(Format::Prometheus).unwrap();
            let values = Values::of(&values);
            if values.0["longrun_operation_duration_seconds_count{kind=\"slow\"}"] == 1.0 {
                return values;
            }
            tokio::task::yield_now().await;
        }
    };
    let values = soon(looking).await;
    values.are(&[
        ("longrun_leases_lost_total{kind=\"slow\"}", 1.0),
        ("longrun_transitions_total{kind=\"slow\",state=\"QUEUED\"}", 2.0),
        ("longrun_transitions_total{kind=\"slow\",state=\"RUNNING\"}", 2.0),
        ("longrun_queue_duration_seconds_count{kind=\"slow\"}", 2.0),
        ("longrun_attempt_duration_seconds_count{kind=\"slow\"}", 2.0),
        ("longrun_operation_duration_seconds_sum{kind=\"slow\"}", 20.0),
        ("longrun_operation_duration_seconds_bucket{kind=\"slow\",le=\"30\"}", 1.0),
        ("longrun_operation_duration_seconds_bucket{kind=\"slow\",le=\"10\"}", 0.0),
    ]);
    let sum =
        |name: &str| values.0[&format!("longrun_{name}_duration_seconds_sum{{kind=\"slow\"}}")];
    assert_eq!(sum("queue") + sum("attempt"), 20.0, "it waited or ran all the time");
    assert!((2.0..=8.0).contains(&sum("queue")), "{}", sum("queue"));
}

#[tokio::test]
async fn kinds_beyond_the_limit_are_counted_together() {
    let server = TestServer::with(|config| config.metrics.max_kinds = 2).await;
    for kind in ["a", "b", "c", "d", "other", "a"] {
        server.submit(submission(kind)).await;
    }
    let values = scraped(server.addr, &[("longrun_queued_operations{kind=\"other\"}", 3.0)]).await;
    let counts = [("{kind=\"a\"}", 2.0), ("{kind=\"b\"}", 1.0), ("{kind=\"other\"}", 3.0)];
    assert_eq!(values.only("longrun_submissions_total"), counts);
    assert_eq!(values.only("longrun_queued_operations"), counts);
}

#[tokio::test]
async fn the_reader_chooses_the_format() {
    let server = TestServer::start().await;
    server.submit(submission("a")).await;
    let (head, body) = get(server.addr, "/metrics", "text/plain").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("version=0.0.4"), "{head}");
    assert!(body.contains("# TYPE longrun_submissions_total counter\n") && !body.contains("# EOF"));
    let (head, body) = get(server.addr, "/metrics", "application/openmetrics-text").await;
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.contains("# TYPE longrun_submissions counter\n") && body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn metrics_may_be_off_or_at_a_port_of_their_own() {
    let server = TestServer::with(|config| config.metrics.off = true).await;
    let (head, _) = get(server.addr, "/metrics", "*/*").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");

    let dir = tempfile::tempdir().unwrap();
    let mut config = longrun::config::ServeConfig::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config.listen.addr = any;
    config.metrics.listen = Some(any);
    config.store.url = longrun::config::StoreUrl::Sqlite(dir.path().join("longrun.db"));
    let server = soon(Server::bind(config)).await.unwrap();
    let main = server.local_addr();
    let url = server.metrics_url().unwrap();
    let own: SocketAddr =
        url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().parse().unwrap();
    let stop = CancellationToken::new();
    let running = spawn(server.run(stop.clone()));
    let (head, body) = get(own, "/metrics", "*/*").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("longrun_build_info"), "{head}");
    let (head, _) = get(own, "/v1/operations", "*/*").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let (head, _) = get(main, "/metrics", "*/*").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    stop.cancel();
    assert_eq!(soon(running).await.unwrap().unwrap(), Stopped::Drained);
}

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// The names of this server's metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_ours = |word: &&str| word.starts_with("longrun_") || word.starts_with("process_");
    words.filter(is_ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_is_served_and_no_other_is_deployed() {
    let server = TestServer::start().await;
    let mut worker = server.worker("a", 1).await;
    server.submit(submission("a")).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    get(server.addr, "/livez", "*/*").await;
    let known = "longrun_http_requests_total{route=\"getLiveness\",code=\"200\"}";
    scraped(server.addr, &[(known, 1.0)]).await;
    let (_, text) = get(server.addr, "/metrics", "*/*").await;
    let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let served: BTreeSet<&str> = described.filter_map(|line| line.split(' ').next()).collect();
    let declared: Vec<String> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(served, declared.iter().map(String::as_str).collect());

    let mut used = BTreeSet::new();
    for file in ["alerts.yml", "grafana.json"] {
        let text = std::fs::read_to_string(deployed(file)).unwrap();
        let names = named(&text);
        assert!(names.len() > 8, "{file}: {names:?}");
        for name in names {
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let is_served =
                [Some(name.as_str()), plain].into_iter().flatten().any(|it| served.contains(it));
            assert!(is_served, "{file} names {name}, which is not served");
            used.insert(plain.unwrap_or(&name).to_owned());
        }
    }
    // What is new gets a panel or a rule, or nobody sees it.
    let is_unseen = |it: &&&str| it.starts_with("longrun_") && !used.contains(**it);
    let unseen: Vec<_> = served.iter().filter(is_unseen).collect();
    assert!(unseen.is_empty(), "neither the dashboard nor a rule shows {unseen:?}");
    let dashboard = std::fs::read(deployed("grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));

    promtool(&["check", "metrics"], &text);
    promtool(&["check", "rules", deployed("alerts.yml").to_str().unwrap()], "");
}

/// Has Prometheus's own tool judge; says so where it is not there.
fn promtool(args: &[&str], input: &str) {
    let tool = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        eprintln!("promtool is not installed: `promtool {}` was not run", args.join(" "));
        return;
    };
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {}: {said}", args.join(" "));
}
