//! S3 by `moto`, behind a proxy that breaks chosen requests.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use longrun::objects::Objects;

use crate::site::Site;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered by this status, and not passed on.
    Status(u16),
    /// It is passed on, and the connection ends in the middle of the answer, or instead of it.
    Cut,
    /// It is never answered.
    Silence,
}

type Matches = Box<dyn Fn(&Method, &Uri) -> bool + Send>;

/// Requests to break, and how many of them.
struct Rule {
    matches: Matches,
    fault: Fault,
    left: usize,
}

#[derive(Clone)]
struct Proxy {
    to: Authority,
    rules: Arc<Mutex<Vec<Rule>>>,
    asked: Arc<Mutex<Vec<(Method, String)>>>,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Body>,
}

/// The double, with a bucket.
pub struct S3 {
    moto: Child,
    proxy: Proxy,
    site: Site,
}

/// Whether `tests/run` has found none, and has said so.
pub fn is_missing() -> bool {
    std::env::var_os("LONGRUN_WITHOUT_S3").is_some()
}

impl S3 {
    pub async fn start() -> Self {
        let moto = std::env::var_os("LONGRUN_MOTO");
        let moto =
            moto.expect("LONGRUN_MOTO is not set: run tests/run, which installs a double of S3");
        let mut moto = Command::new(moto)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the double cannot be started");
        // It says where it listens, and then goes on about each request.
        let mut lines = BufReader::new(moto.stderr.take().unwrap()).lines().map_while(Result::ok);
        let at = lines.find_map(|line| Some(line.split_once("Running on http://")?.1.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        let to = at.expect("the double says where it is").trim().parse().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let proxy = Proxy { to, rules: Arc::default(), asked: Arc::default(), client };
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        let site = Site::start(router).await;
        let s3 = Self { moto, proxy, site };
        let made = s3.ask(Method::PUT, "/bucket", Bytes::new()).await;
        assert_eq!(made.0, StatusCode::OK);
        s3
    }

    /// The variables by which the server finds it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT", self.site.url.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    pub fn objects(&self) -> Objects {
        Objects::at_url("s3://bucket/some/prefix", self.variables()).unwrap()
    }

    /// Breaks the next `count` requests that match.
    pub fn breaks(
        &self,
        count: usize,
        fault: Fault,
        matches: impl Fn(&Method, &Uri) -> bool + Send + 'static,
    ) {
        let rule = Rule { matches: Box::new(matches), fault, left: count };
        self.proxy.rules.lock().unwrap().push(rule);
    }

    /// How many requests were to be broken and have not come.
    pub fn unbroken(&self) -> usize {
        self.proxy.rules.lock().unwrap().iter().map(|rule| rule.left).sum()
    }

    /// How many requests of this method had `text` in their target.
    pub fn asked(&self, method: Method, text: &str) -> usize {
        let asked = self.proxy.asked.lock().unwrap();
        asked.iter().filter(|(it, target)| *it == method && target.contains(text)).count()
    }

    /// Asks the double itself.
    pub async fn ask(&self, method: Method, target: &str, body: Bytes) -> (StatusCode, String) {
        let uri = format!("http://{}{target}", self.proxy.to);
        let request = http::Request::builder().method(method).uri(uri);
        // Signed by nobody in particular: it asks for a signature and does not check it.
        let credential = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
                          SignedHeaders=host, Signature=0";
        let request = request.header("authorization", credential).body(Body::from(body)).unwrap();
        let (parts, body) = self.proxy.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, String::from_utf8_lossy(&body).into_owned())
    }

    /// The keys of all objects.
    pub async fn keys(&self) -> Vec<String> {
        let (_, listed) = self.ask(Method::GET, "/bucket?list-type=2", Bytes::new()).await;
        let keys = listed.split("<Key>").skip(1).map(|it| it.split('<').next().unwrap().to_owned());
        keys.collect()
    }

    /// How many uploads in parts have begun and not ended.
    pub async fn unfinished(&self) -> usize {
        let (_, listed) = self.ask(Method::GET, "/bucket?uploads", Bytes::new()).await;
        listed.matches("<UploadId>").count()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.moto.kill();
        let _ = self.moto.wait();
    }
}

async fn forward(State(proxy): State<Proxy>, request: Request) -> Response {
    let fault = {
        let mut rules = proxy.rules.lock().unwrap();
        let found = rules
            .iter_mut()
            .find(|it| it.left > 0 && (it.matches)(request.method(), request.uri()));
        found.map(|rule| {
            rule.left -= 1;
            rule.fault
        })
    };
    let target = request.uri().to_string();
    proxy.asked.lock().unwrap().push((request.method().clone(), target));
    match fault {
        Some(Fault::Status(status)) => {
            // Whoever is still writing when the connection ends may not see the answer, and asks again.
            let _ = request.into_body().collect().await;
            return StatusCode::from_u16(status).unwrap().into_response();
        }
        Some(Fault::Silence) => std::future::pending::<()>().await,
        Some(Fault::Cut) | None => {}
    }
    let (mut parts, body) = request.into_parts();
    let mut to = parts.uri.into_parts();
    (to.scheme, to.authority) = (Some(Scheme::HTTP), Some(proxy.to.clone()));
    parts.uri = Uri::from_parts(to).unwrap();
    let Ok(answer) = proxy.client.request(Request::from_parts(parts, body)).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (parts, body) = answer.into_parts();
    let Ok(body) = body.collect().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let body = body.to_bytes();
    if fault == Some(Fault::Cut) {
        // The length of the whole, and half of it.
        let half = Ok(body.slice(..body.len() / 2));
        let end = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        };
        let pieces = futures_util::stream::once(std::future::ready(half));
        let pieces =
            tokio_stream::StreamExt::chain(pieces, futures_util::stream::once(Box::pin(end)));
        return Response::from_parts(parts, Body::from_stream(pieces));
    }
    Response::from_parts(parts, Body::from(body))
}
