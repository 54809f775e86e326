//! The program as a process of its own, receivers, and what verifies their messages.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use longrun::client::Client;
use longrun::proto::v1::{Delivery, ListDeliveriesRequest, Operation, SubmitRequest};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longer than anything takes that works, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A running server. Killed when it is dropped.
pub struct Server {
    child: Child,
    pub url: String,
    pub client: Client,
}

impl Server {
    /// Over this store, with these flags; sends to this machine.
    pub async fn start(store: &Path, args: &[&str]) -> Self {
        Self::strict(store, &[&["--webhook-allow", "127.0.0.0/8"], args].concat()).await
    }

    /// The same that sends to nobody by default but to the world.
    pub async fn strict(store: &Path, args: &[&str]) -> Self {
        Self::over(&format!("sqlite:{}", store.join("longrun.db").display()), args).await
    }

    pub async fn over(store: &str, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("longrun listening on ").expect("it is up");
        let client = Client::connect(url).await.unwrap();
        Self { url: url.to_owned(), client, child }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; how long it took to end, and whether it ended well.
    pub fn stop(mut self) -> (Duration, bool) {
        let began = std::time::Instant::now();
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        (began.elapsed(), status.success())
    }

    /// A new operation that is to tell `url`.
    pub async fn submit(&self, kind: &str, url: &str) -> Operation {
        let request = SubmitRequest {
            kind: kind.to_owned(),
            callback_url: url.to_owned(),
            ..SubmitRequest::default()
        };
        self.client.submit(request).await.unwrap()
    }

    /// What `longrun` answers to this, as a user runs it.
    pub fn cli(&self, args: &[&str]) -> (bool, String) {
        let output = self.run(args);
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// `longrun` with these arguments.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
            command.env_remove(name);
        }
        command.args(args).args(["--server", &self.url]).output().unwrap()
    }

    /// All deliveries.
    pub async fn deliveries(&self, state: &str) -> Vec<Delivery> {
        let mut request = ListDeliveriesRequest { state: state.to_owned(), ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self.client.list_deliveries(request.clone()).await.unwrap();
            all.extend(page.deliveries);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return all;
            }
        }
    }

    /// Waits until deliveries are as they should be.
    pub async fn until(&self, state: &str, enough: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        let asking = async {
            loop {
                let found = self.deliveries(state).await;
                if enough(&found) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(found) => found,
            Err(_) => panic!("deliveries are {:#?}", self.deliveries("").await),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// What was answered.
    pub status: u16,
}

impl Got {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The operation that it tells of, and what.
    pub fn told(&self) -> (String, String) {
        let body = self.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let event = text(&body["type"]);
        (text(&body["data"]["name"]), event.trim_start_matches("longrun.").to_owned())
    }
}

/// How a receiver answers: the number of a message from 1 on, and the message, to status and header fields.
type Behaviour = dyn Fn(usize, &Got) -> Answer + Send + Sync;

/// An answer of a receiver.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    Redirect(String),
    /// Never.
    Silence,
}

#[derive(Clone)]
struct Desk {
    got: Arc<Mutex<Vec<Got>>>,
    behaviour: Arc<Behaviour>,
    arrived: watch::Sender<usize>,
}

/// A receiver.
pub struct Receiver {
    pub url: String,
    desk: Desk,
    task: tokio::task::JoinHandle<()>,
    arrived: watch::Receiver<usize>,
}

impl Receiver {
    pub async fn accepting() -> Self {
        Self::new(|_, _| Answer::Status(204)).await
    }

    pub async fn new(behaviour: impl Fn(usize, &Got) -> Answer + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", Arc::default(), Arc::new(behaviour)).await
    }

    async fn at(address: &str, got: Arc<Mutex<Vec<Got>>>, behaviour: Arc<Behaviour>) -> Self {
        let (arrived, watching) = watch::channel(0);
        let desk = Desk { got, behaviour, arrived };
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(desk.clone());
        let task = tokio::spawn(serve(listener, router));
        Self { url, desk, task, arrived: watching }
    }

    /// Ends it, with all its connections; it can come back, and remembers what it got.
    pub async fn crash(self) -> impl AsyncFnOnce() -> Self {
        self.task.abort();
        let _ = (&self.url, self.task.await);
        let address = self.url.trim_start_matches("http://").to_owned();
        let (got, behaviour) = (self.desk.got, self.desk.behaviour);
        async move || Self::at(&address, got, behaviour).await
    }

    pub fn got(&self) -> Vec<Got> {
        self.desk.got.lock().unwrap().clone()
    }

    /// Waits until what it got is as it should be.
    pub async fn until(&mut self, enough: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let waiting = async {
            loop {
                self.arrived.mark_unchanged();
                let got = self.desk.got.lock().unwrap().clone();
                if enough(&got) {
                    return got;
                }
                self.arrived.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(got) => got,
            Err(_) => panic!("got {} messages", self.desk.got.lock().unwrap().len()),
        }
    }
}

/// Accepts until it is aborted, with all connections.
async fn serve(listener: tokio::net::TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let connection = http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn receive(
    State(desk): State<Desk>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let headers = headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
    });
    let mut message = Got {
        path: uri.path().to_owned(),
        headers: headers.collect(),
        body: String::from_utf8(body.to_vec()).unwrap(),
        status: 0,
    };
    let number = desk.got.lock().unwrap().len() + 1;
    let answer = (desk.behaviour)(number, &message);
    message.status = match &answer {
        Answer::Status(status) => *status,
        Answer::Redirect(_) => 307,
        Answer::Silence => 599,
    };
    let status = message.status;
    let count = {
        let mut got = desk.got.lock().unwrap();
        got.push(message);
        got.len()
    };
    desk.arrived.send_replace(count);
    let mut fields = HeaderMap::new();
    match answer {
        Answer::Status(_) => {}
        Answer::Redirect(to) => {
            fields.insert("location", to.parse().unwrap());
        }
        Answer::Silence => std::future::pending::<()>().await,
    }
    (StatusCode::from_u16(status).unwrap(), fields)
}

/// What messages say, if libraries of others find them signed by this secret; else their words.
pub fn verify(secret: &str, messages: &[Got]) -> Result<Vec<Value>, String> {
    let python = std::env::var_os("LONGRUN_PYTHON");
    let python =
        python.expect("LONGRUN_PYTHON is not set: run tests/run, which installs the libraries");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webhooks/verify.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let messages: Vec<Value> =
        messages.iter().map(|it| json!({"headers": it.headers, "body": it.body})).collect();
    let given = json!({"secret": secret, "messages": messages}).to_string();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
