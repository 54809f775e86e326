//! An upstream that answers in odd ways, byte by byte, and the same request three times: to the upstream itself,
//! passed through, and as an operation.

use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::raw::{Raw, answer, setup};
use crate::support::{Answer, Setup, ask};

/// What the upstream says, by the last segment of the path.
fn odd_answers() -> Vec<(String, &'static str, Vec<u8>)> {
    let mut all: Vec<(String, &'static str, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, method: &'static str, bytes: Vec<u8>| {
        all.push((name.to_owned(), method, bytes));
    };
    for status in [
        "200 OK",
        "201 Created",
        "202 Accepted",
        "203 Non-Authoritative Information",
        "207 Multi-Status",
        "226 IM Used",
        "299 Fine by me",
        "300 Multiple Choices",
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
        "400 Bad Request",
        "402 Payment Required",
        "404 Not Found",
        "409 Conflict",
        "410 Gone",
        "412 Precondition Failed",
        "418 I'm a teapot",
        "422 Unprocessable Content",
        "451 Unavailable For Legal Reasons",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "504 Gateway Timeout",
        "599 Odd",
        "600 Odder",
        "799 Oddest",
        "999 Request denied",
    ] {
        let name = format!("status-{}", &status[..3]);
        add(&name, "POST", answer(status, "Content-Type: text/plain\r\nX-Odd: 1\r\n", "said"));
    }
    let ok = |fields: &str| answer("200 OK", fields, "a,b\n");
    add("made", "POST", answer("201 Created", "Location: http://else.test/7\r\n", ""));
    add("see", "POST", answer("303 See Other", "Location: http://else.test/7\r\n", ""));
    add("none", "DELETE", b"HTTP/1.1 204 No Content\r\nX-Left: 3\r\n\r\n".to_vec());
    add("reset", "POST", answer("205 Reset Content", "", ""));
    add("not-modified", "GET", b"HTTP/1.1 304 Not Modified\r\nETag: \"7\"\r\n\r\n".to_vec());
    let range = "Content-Type: text/csv\r\nContent-Range: bytes 0-3/9\r\nAccept-Ranges: bytes\r\n";
    add("part", "GET", answer("206 Partial Content", range, "a,b\n"));
    let range = "Content-Range: bytes */9\r\n";
    add("no-such-part", "GET", answer("416 Range Not Satisfiable", range, ""));
    add("login", "GET", answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""));
    add("allowed", "PUT", answer("405 Method Not Allowed", "Allow: GET, HEAD\r\n", ""));
    add("slow-down", "GET", answer("429 Too Many Requests", "Retry-After: 120\r\n", "later"));
    add("busy", "GET", answer("503 Service Unavailable", "Retry-After: 9\r\n", "sorry"));

    add("empty", "GET", answer("200 OK", "Content-Type: text/csv\r\n", ""));
    add("nothing-said", "GET", answer("200 OK", "", "bare"));
    add("nothing-at-all", "POST", answer("200 OK", "", ""));
    add("octets", "GET", ok("Content-Type: application/octet-stream\r\n"));
    add("no-octets", "GET", answer("200 OK", "Content-Type: application/octet-stream\r\n", ""));
    let long = format!("Content-Type: text/csv; name=\"{}\"\r\n", "x".repeat(600));
    add("long-type", "GET", ok(&long));
    add("two-types", "GET", ok("Content-Type: text/csv\r\nContent-Type: text/html\r\n"));
    let mut latin = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv; name=caf\xe9\r\n".to_vec();
    latin.extend(b"X-Latin: caf\xe9\r\nContent-Length: 1\r\n\r\nx");
    add("latin", "GET", latin);
    let parameters = "Content-Type: multipart/mixed; boundary=\"a b\";charset=utf-8\r\n";
    add("parameters", "GET", ok(parameters));

    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/csv\r\n";
    add("chunked", "GET", format!("{chunked}\r\n3\r\na,b\r\n1;x=y\r\n\n\r\n0\r\n\r\n").into());
    add(
        "trailers",
        "GET",
        format!("{chunked}Trailer: x-t\r\n\r\n1\r\nx\r\n0\r\nx-t: 1\r\n\r\n").into(),
    );
    add("no-chunks", "POST", format!("{chunked}\r\n0\r\n\r\n").into());
    let until_end = "Content-Type: text/csv\r\nConnection: close\r\n\r\na,b\n";
    add("until-end", "GET", format!("HTTP/1.1 200 OK\r\n{until_end}").into());
    add("one-zero", "GET", format!("HTTP/1.0 200 OK\r\n{until_end}").into());
    add("one-zero-length", "GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab".to_vec());
    add("nothing-until-end", "GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec());
    let early = "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    add("early", "POST", [early.as_bytes(), &ok("")].concat());
    add(
        "head",
        "HEAD",
        answer("200 OK", "Content-Type: text/csv\r\n", "")
            .strip_suffix(b"Content-Length: 0\r\n\r\n".as_slice())
            .map(|head| [head, b"Content-Length: 42\r\n\r\n"].concat())
            .expect("a length"),
    );
    add("head-of-nothing", "HEAD", answer("200 OK", "", ""));

    add("many", "POST", ok(&(0..180).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>()));
    add("the-same", "POST", ok(&"X-Same: y\r\n".repeat(900)));
    let large = |size: usize| ok(&format!("X-Large: {}\r\n", "y".repeat(size)));
    add("large-40", "POST", large(40 << 10));
    add("large-200", "POST", large(200 << 10));
    add(
        "odd-names",
        "GET",
        ok("x!#$%&'*+-.^_`|~9: y\r\nX-Empty: \r\nX-Empty:\r\nX-Space:   a  b  \r\n"),
    );
    add(
        "validators",
        "GET",
        ok("ETag: W/\"x\"\r\nLast-Modified: Sun, 22 Nov 2026 00:00:00 GMT\r\n"),
    );
    let caching = "Cache-Control: max-age=5\r\nExpires: 0\r\nAge: 3\r\nVary: Accept\r\nVary: *\r\n";
    add("caching", "GET", ok(caching));
    add("encoded", "GET", ok("Content-Encoding: gzip\r\nContent-Language: de, en\r\n"));
    add("named", "GET", ok("Content-Disposition: attachment; filename=\"\u{e9}.csv\"\r\n"));
    let links =
        "Link: <http://a.test/>; rel=a, <http://b.test/>; rel=b\r\nLink: <http://c.test/>\r\n";
    add("links", "GET", ok(links));
    add(
        "dated",
        "GET",
        ok("Date: Sun, 22 Nov 2026 00:00:00 GMT\r\nServer: odd/1\r\nVia: 1.1 x\r\n"),
    );
    let body = "0123456789\0\u{e9}".repeat(70_000);
    add("body", "GET", answer("200 OK", "", &body));
    all
}

/// What belongs to a connection, or that a gateway has to add.
const OF_THE_WAY: [&str; 7] =
    ["connection", "date", "keep-alive", "trailer", "transfer-encoding", "vary", "via"];
/// What an operation's result has of its own.
const OWN: [&str; 10] = [
    "accept-ranges",
    "cache-control",
    "content-length",
    "content-security-policy",
    "etag",
    "longrun-error-source",
    "longrun-recorded-status",
    "operation-location",
    "preference-applied",
    "x-content-type-options",
];

fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let of_message = |(name, _): &(&http::HeaderName, _)| !OF_THE_WAY.contains(&name.as_str());
    let fields = headers.iter().filter(of_message);
    let mut fields: Vec<_> =
        fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    fields.sort();
    fields
}

/// The recorded answer has all that the direct one has, and beyond it only what is this service's.
#[track_caller]
fn is_recorded(name: &str, recorded: &Answer, direct: &Answer) {
    let status = if direct.status == 202 { 200 } else { direct.status };
    assert_eq!(recorded.status, status, "{name}: {recorded:?}");
    assert!(recorded.body == direct.body, "{name}");
    let (kept, given) = (fields(&recorded.headers), fields(&direct.headers));
    for field in &given {
        let name_of = String::from_utf8_lossy(&field.1).into_owned();
        assert!(kept.contains(field), "{name} lacks {}: {name_of:.100}", field.0);
    }
    for field in kept.iter().filter(|field| !given.contains(field)) {
        assert!(OWN.contains(&field.0.as_str()), "{name} has {field:?}");
    }
}

#[tokio::test]
async fn odd_answers_are_the_same_passed_through_and_recorded() {
    let answers = odd_answers();
    let said: Vec<_> =
        answers.iter().map(|(name, _, bytes)| (name.clone(), bytes.clone())).collect();
    let respond = move |request: &Raw| {
        let path = request.line.split(' ').nth(1).expect("a target");
        let name = path.rsplit('/').next().expect("a name");
        said.iter().find(|(given, _)| given == name).expect("a case").1.clone()
    };
    let (setup, authority, mut asked) = setup("", respond).await;
    for (name, method, _) in &answers {
        let direct =
            ask(setup.addr, method, &format!("http://{authority}/base/{name}"), &[], "").await;
        let path = format!("/api/{name}");
        let passed = setup.ask(method, &path, &[], "").await;
        assert_eq!(passed.status, direct.status, "{name}");
        assert!(passed.body == direct.body, "{name}");
        assert_eq!(fields(&passed.headers), fields(&direct.headers), "{name}");

        let held = setup.ask(method, &path, &[("prefer", "respond-async, wait=20")], "").await;
        is_recorded(name, &held, &direct);
        if *method != "HEAD" {
            let location = held.header("operation-location").trim_end_matches("/status").to_owned();
            is_recorded(name, &setup.result_at(&location).await, &direct);
        }
        for _ in 0..3 {
            asked.recv().await.expect("a request");
        }
        assert!(asked.try_recv().is_err(), "{name} was sent once each time");
    }
    assert!(answers.len() > 60, "{}", answers.len());
}

const DIALECT: &str =
    "[[dialect]]\nuse = \"async-parameter\"\nprefix = \"/api\"\nrelay = \"api\"\n";

/// A request by way of a dialect that answers what the API would have, once it is done.
async fn by_dialect(setup: &Setup, method: &str, path: &str) -> Answer {
    let accepted = setup.ask(method, &format!("{path}?async=true"), &[], "").await.expect(202);
    let (poll, wait) = (accepted.header("location"), [("prefer", "wait=20")]);
    let get = if method == "HEAD" { "HEAD" } else { "GET" };
    let mut answer = setup.ask(get, poll, &wait, "").await;
    // What was granted of this request; the API's own word stays.
    let applied = answer.headers.remove("preference-applied").filter(|it| it != "wait=20");
    answer
        .headers
        .extend(applied.map(|it| (http::HeaderName::from_static("preference-applied"), it)));
    answer
}

#[tokio::test]
async fn odd_answers_are_exactly_those_that_a_dialect_gives() {
    let mut answers = odd_answers();
    let own = "Accept-Ranges: none\r\nOperation-Location: http://else.test/7\r\n";
    let mut add = |name: &str, fields: &str| {
        answers.push((name.to_owned(), "POST", answer("200 OK", fields, "x")));
    };
    add("own-words", own);
    add("policies", "Content-Security-Policy: default-src 'self'\r\nX-Frame-Options: DENY\r\n");
    add("preferred", "Preference-Applied: return=minimal\r\nETag: \"7\"\r\n");
    let said: Vec<_> =
        answers.iter().map(|(name, _, bytes)| (name.clone(), bytes.clone())).collect();
    let respond = move |request: &Raw| {
        let path = request.line.split(' ').nth(1).expect("a target");
        let name = path.rsplit('/').next().expect("a name");
        said.iter().find(|(given, _)| given == name).expect("a case").1.clone()
    };
    let (setup, ..) = setup(DIALECT, respond).await;
    for (name, method, _) in &answers {
        let path = format!("/api/{name}");
        let passed = setup.ask(method, &path, &[], "").await;
        let mut given = by_dialect(&setup, method, &path).await;
        if passed.status == 202 {
            // As 202 it would read as still to be done.
            assert_eq!(given.headers.remove("longrun-recorded-status").expect("a field"), "202");
            given.status = 202;
        }
        assert_eq!(given.status, passed.status, "{name}");
        assert!(given.body == passed.body, "{name}");
        // A stored body has a length, and the answer to a HEAD only one that it came with.
        let of_body = |(field, _): &(String, Vec<u8>)| field != "content-length";
        let said = |answer: &Answer| {
            fields(&answer.headers).into_iter().filter(of_body).collect::<Vec<_>>()
        };
        assert_eq!(said(&given), said(&passed), "{name}");
    }
}

#[tokio::test]
async fn what_the_api_did_not_answer_is_told_alike_by_a_dialect() {
    let broken = "HTTP/1.1 201 Created\r\nContent-Length: many\r\n\r\n";
    let (unreadable, ..) = setup(DIALECT, move |_| broken.into()).await;
    let more = format!("[relay.retries]\nmax_attempts = 1\n{DIALECT}");
    for setup in [unreadable, Setup::in_front_of_nothing(&more).await] {
        for method in ["GET", "POST"] {
            let passed = setup.ask(method, "/api/x", &[], "").await.expect(502);
            let given = by_dialect(&setup, method, "/api/x").await.expect(502);
            assert_eq!(fields(&given.headers).len(), fields(&passed.headers).len());
            for field in ["content-type", "longrun-error-source"] {
                assert_eq!(given.header(field), passed.header(field), "{field}");
            }
            let (given, passed) = (given.json(), passed.json());
            for member in ["type", "title", "status", "reason"] {
                assert_eq!(given[member], passed[member], "{given}");
            }
        }
    }
}

/// What is added to a request on its way, or that names another server.
fn of_request(request: Raw) -> (String, Vec<String>, Vec<u8>) {
    let added = ["host: ", "connection: ", "via: ", "x-forwarded-"];
    let is_kept = |field: &String| !added.iter().any(|name| field.starts_with(name));
    let fields = request.fields.into_iter().filter(is_kept).collect();
    let line = request.line.replace("/base/", "/").replace("?async=1", "");
    (line, fields, request.body)
}

#[tokio::test]
async fn odd_requests_are_the_same_passed_through_and_recorded() {
    let more = "[relay.trigger]\nquery = \"async\"\n";
    let (setup, authority, mut asked) =
        setup(more, |_| b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n".to_vec()).await;
    let large = "x".repeat(300 << 10);
    for (name, method, fields, body) in [
        ("plain", "GET", "Accept: */*\r\n", ""),
        ("length-of-nothing", "POST", "Content-Length: 0\r\n", ""),
        ("no-length", "POST", "", ""),
        ("length-of-nothing-got", "GET", "Content-Length: 0\r\n", ""),
        ("deleted", "DELETE", "Content-Length: 0\r\n", ""),
        ("text", "POST", "Content-Type: text/plain\r\nContent-Length: 4\r\n", "body"),
        ("no-type", "POST", "Content-Length: 4\r\n", "body"),
        (
            "octets",
            "PUT",
            "Content-Type: application/octet-stream\r\nContent-Length: 4\r\n",
            "body",
        ),
        (
            "no-octets",
            "POST",
            "Content-Type: application/octet-stream\r\nContent-Length: 0\r\n",
            "",
        ),
        ("got-with-body", "GET", "Content-Type: application/json\r\nContent-Length: 2\r\n", "{}"),
        ("patched", "PATCH", "Content-Encoding: gzip\r\nContent-Length: 4\r\n", "body"),
        ("large", "POST", "Content-Type: text/csv\r\nContent-Length: 307200\r\n", &large),
        ("many", "GET", "X-A: 1\r\nX-A: 2\r\nX-Empty:\r\nX-Latin: caf\u{e9}\r\n", ""),
        ("keyed", "POST", "Idempotency-Key: \"k;1\"\r\nContent-Length: 1\r\n", "x"),
        ("own-method", "PROPFIND", "Depth: 1\r\n", ""),
    ] {
        let mut seen = Vec::new();
        for (to, path) in [
            (authority.as_str(), format!("/base/{name}")),
            (&setup.addr.to_string(), format!("/api/{name}")),
            (&setup.addr.to_string(), format!("/api/{name}?async=1")),
        ] {
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
            // A character is a byte.
            let text =
                format!("{head}{fields}\r\n{body}").chars().map(|it| it as u8).collect::<Vec<_>>();
            let mut socket = TcpStream::connect(to).await.expect("a connection");
            socket.write_all(&text).await.expect("a reader");
            let mut answered = Vec::new();
            socket.read_to_end(&mut answered).await.expect("an answer");
            assert!(answered.starts_with(b"HTTP/1.1 20"), "{name} {path}: {answered:?}");
            seen.push(of_request(asked.recv().await.expect("a request")));
        }
        assert_eq!(seen[1], seen[0], "{name} passed through");
        assert_eq!(seen[2], seen[0], "{name} as an operation");
    }
    // A body of unknown length has one when it is stored, and is a body also of a GET.
    let chunks = "4\r\nbody\r\n0\r\n\r\n";
    for path in ["/api/chunks", "/api/chunks?async=1"] {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}"
        );
        let answered = crate::pass_through::raw(&setup, &text).await;
        assert!(answered.starts_with("HTTP/1.1 20"), "{path}: {answered}");
        let request = asked.recv().await.expect("a request");
        assert_eq!(request.body, b"body", "{path}");
        let length = if path.contains('?') { &["4"][..] } else { &[] };
        assert_eq!(request.values("content-length"), length, "{path}");
    }
}
