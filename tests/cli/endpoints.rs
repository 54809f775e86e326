//! Handlers that are HTTP endpoints, with a real one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::support::{Server, longrun};

/// What the endpoint was asked.
struct Asked {
    head: String,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Answers each connection's one request by its path.
struct Endpoint {
    url: String,
    asked: Receiver<Asked>,
    closed: Receiver<()>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ((tell, asked), (close, closed)) = (channel(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (tell, close) = (tell.clone(), close.clone());
                std::thread::spawn(move || answer(stream.unwrap(), &tell, &close));
            }
        });
        Self { url, asked, closed }
    }

    fn asked(&self) -> Asked {
        self.asked.recv_timeout(Duration::from_secs(20)).expect("a request")
    }
}

fn answer(mut stream: TcpStream, tell: &Sender<Asked>, close: &Sender<()>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
    }
    let mut asked = Asked { head, body: Vec::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    asked.body.resize(length, 0);
    reader.read_exact(&mut asked.body).unwrap();
    let path = asked.head.split(' ').nth(1).unwrap_or_default().to_owned();
    let is_first = asked.header("longrun-attempt") == Some("1");
    let mut body = asked.body.to_ascii_uppercase();
    let _ = tell.send(asked);
    let head = match path.as_str() {
        "/upper?v=1" => "200 OK\r\nContent-Type: text/csv\r\nContent-Language: de",
        "/nothing" => "204 No Content",
        "/moved" => "302 Found\r\nLocation: /elsewhere",
        "/refused" => {
            body = br#"{"code": "NoSuchMap", "detail": "there is no map of Atlantis"}"#.to_vec();
            "404 Not Found\r\nContent-Type: application/problem+json"
        }
        "/busy" if is_first => "503 Service Unavailable\r\nRetry-After: 1",
        "/limited" if is_first => "429 Too Many Requests\r\nRetry-After: 0",
        "/broken" if is_first => return,
        "/cut" if is_first => "200 OK\r\nContent-Length: 100",
        "/held" => {
            let _ = stream.read(&mut [0]);
            let _ = close.send(());
            return;
        }
        _ => "200 OK",
    };
    let length = if head.contains("Length") || head.starts_with("204") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    write!(stream, "HTTP/1.1 {head}\r\n{length}\r\n").unwrap();
    stream.write_all(&body).unwrap();
}

/// A server whose kind of each name asks the path of that name.
fn serve(endpoint: &Endpoint, paths: &[&str]) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("test.db").display());
    let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    for path in paths {
        let kind = path.split('?').next().unwrap_or_default();
        command.arg(format!("--handler-url={kind}={}/{path}", endpoint.url));
    }
    Server::spawned(command, directory)
}

#[test]
fn an_attempt_is_a_request_and_its_answer_the_result() {
    let endpoint = Endpoint::start();
    let server = serve(&endpoint, &["upper?v=1", "nothing"]);
    let args = ["submit", "upper", "hello", "--wait", "--label", "team=maps", "--deadline", "1h"];
    let operation = server.json(&args);
    assert_eq!(operation["result"]["text"], "HELLO");
    assert_eq!(operation["result"]["contentType"], "text/csv");
    let asked = endpoint.asked();
    assert!(asked.head.starts_with("POST /upper?v=1 HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(asked.body, b"hello");
    assert_eq!(asked.header("longrun-operation"), operation["name"].as_str());
    for (name, value) in [
        ("longrun-kind", "upper"),
        ("longrun-attempt", "1"),
        ("longrun-tenant", "default"),
        ("longrun-label-team", "maps"),
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "5"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{}", asked.head);
    }
    assert!(asked.header("longrun-deadline").is_some_and(|at| at.ends_with('Z')), "{}", asked.head);
    let nothing = server.json(&["submit", "nothing", "--wait"]);
    assert_eq!((&nothing["state"], nothing.get("result")), (&"STATE_SUCCEEDED".into(), None));
}

#[test]
fn a_large_input_and_a_large_result_are_streamed() {
    let endpoint = Endpoint::start();
    let server = serve(&endpoint, &["echo"]);
    let file = server.directory.path().join("input");
    std::fs::write(&file, vec![b'a'; 3 << 20]).unwrap();
    let name = server.submit(&["echo", &format!("@{}", file.display())]);
    server.expect(0, &["wait", &name]);
    assert_eq!(endpoint.asked().body.len(), 3 << 20);
    assert_eq!(server.expect(0, &["result", &name]), "A".repeat(3 << 20));
}

#[test]
fn refusals_are_final_and_say_why() {
    let endpoint = Endpoint::start();
    let server = serve(&endpoint, &["refused", "moved"]);
    let refused = server.expect(3, &["submit", "refused", "--wait", "--json"]);
    assert!(
        refused.contains("\"NoSuchMap\"") && refused.contains("no map of Atlantis"),
        "{refused}"
    );
    assert!(refused.contains("\"attempt\": 1"), "{refused}");
    let moved = server.expect(3, &["submit", "moved", "--wait", "--json"]);
    assert!(moved.contains("HTTP_302") && moved.contains("redirects are not followed"), "{moved}");
}

#[test]
fn what_may_go_better_is_tried_again() {
    let endpoint = Endpoint::start();
    let server = serve(&endpoint, &["busy", "limited", "broken", "cut"]);
    for kind in ["busy", "limited", "broken", "cut"] {
        let began = std::time::Instant::now();
        let args =
            ["submit", kind, "x", "--wait", "--max-attempts", "2", "--initial-backoff", "20ms"];
        let operation = server.json(&args);
        assert_eq!(
            (&operation["state"], &operation["attempt"]),
            (&"STATE_SUCCEEDED".into(), &2.into())
        );
        let waited = began.elapsed() >= Duration::from_secs(1);
        assert!(waited || kind != "busy", "Retry-After is longer than the backoff");
    }
}

#[test]
fn a_cancel_closes_the_request() {
    let endpoint = Endpoint::start();
    let server = serve(&endpoint, &["held"]);
    let name = server.submit(&["held"]);
    endpoint.asked();
    server.expect(0, &["cancel", &name]);
    endpoint.closed.recv_timeout(Duration::from_secs(20)).expect("the connection's end");
    server.expect(4, &["wait", &name]);
}

#[test]
fn workers_ask_endpoints_too_with_header_fields_of_the_file() {
    let endpoint = Endpoint::start();
    let server = Server::start(&[]);
    let directory = server.directory.path();
    std::fs::write(directory.join("token"), "Bearer t0ken\n").unwrap();
    let text = format!(
        "[[handler]]\nkind = \"a\"\nurl = \"{}/a\"\nheaders = {{ x-team = \"maps\", x-of = {{ env = \"TEAM\" }}, \
         authorization = {{ file = \"{}\" }} }}\n",
        endpoint.url,
        directory.join("token").display()
    );
    let path = directory.join("worker.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = server.command(&["worker", "--config", path.to_str().unwrap()]);
    let mut of_file = command.env("TEAM", "seas").spawn().unwrap();
    let url = format!("{}/b", endpoint.url);
    let mut of_flag = server.command(&["worker", "b", "--url", &url]).spawn().unwrap();
    for kind in ["a", "b"] {
        server.expect(0, &["submit", kind, "x", "--wait=20s"]);
    }
    let asked = [endpoint.asked(), endpoint.asked()];
    let of = |name| asked[0].header(name);
    let fields = [of("x-team"), of("x-of"), of("authorization")];
    assert_eq!(fields, [Some("maps"), Some("seas"), Some("Bearer t0ken")]);
    assert!(asked[1].head.starts_with("POST /b "), "{}", asked[1].head);
    for worker in [&mut of_file, &mut of_flag] {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
}

#[test]
fn a_header_field_needs_its_variable_at_the_start() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("longrun.toml");
    let headers = "headers = { authorization = { env = \"NO_SUCH_TOKEN\" } }";
    let table = format!("[[handler]]\nkind = \"k\"\nurl = \"http://127.0.0.1:9/\"\n{headers}\n");
    std::fs::write(&file, table).unwrap();
    let refused =
        longrun(&["serve", "--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
    let refused = { refused }.current_dir(here.path()).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("the handler of k") && said.contains("NO_SUCH_TOKEN"), "{said}");
    assert!(!here.path().join("longrun.db").exists(), "no store is made");
}
