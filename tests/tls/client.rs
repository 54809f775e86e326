//! What clients show with each call, and whom they trust.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use longrun::client::{Client, ClientBuilder};
use longrun::proto::v1::{ListOperationsRequest, WatchOperationRequest};
use longrun::worker::{Outcome, Worker};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Authority, Stage, work, write};

/// The path and the credentials of each call.
type Calls = Arc<Mutex<Vec<(String, String)>>>;

/// Refuses every call as one without the right credentials, and notes what came.
async fn refuse(
    State(calls): State<Calls>,
    request: Request,
) -> (StatusCode, [(&'static str, &'static str); 2]) {
    let token = request.headers().get("authorization").and_then(|field| field.to_str().ok());
    let call = (request.uri().path().to_owned(), token.unwrap_or_default().to_owned());
    calls.lock().unwrap().push(call);
    (StatusCode::OK, [("content-type", "application/grpc"), ("grpc-status", "16")])
}

async fn doorkeeper(tasks: &mut JoinSet<()>) -> (SocketAddr, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Calls::default());
    let router = Router::new().fallback(refuse).with_state(Arc::clone(&calls));
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(router.clone());
            connections.spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (address, calls)
}

/// One call of every sort.
async fn call_everything(builder: ClientBuilder) {
    let client = builder.connect_lazy().unwrap();
    client.submit(work()).await.unwrap_err();
    client.list(ListOperationsRequest::default()).await.unwrap_err();
    client.read_result("operations/x").await.unwrap_err();
    client.wait("operations/x", None).await.unwrap_err();
    let watch = WatchOperationRequest { name: "operations/x".to_owned(), ..Default::default() };
    client.watch(watch).next().await.unwrap().unwrap_err();
    let worker = Worker::new(client).handler("work", |_| async { Ok(Outcome::text("")) });
    worker.run(CancellationToken::new()).await.unwrap_err();
}

#[tokio::test]
async fn every_call_and_every_stream_carries_the_token() {
    let mut tasks = JoinSet::new();
    let (address, calls) = doorkeeper(&mut tasks).await;
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "token", "first\n");
    let url = format!("http://{address}");
    call_everything(Client::builder(&url).token("first")).await;
    call_everything(Client::builder(&url).token_file(&file)).await;
    let heard = std::mem::take(&mut *calls.lock().unwrap());
    assert!(heard.len() >= 12, "{heard:?}");
    assert!(heard.iter().any(|(path, _)| path.ends_with("/Work")), "{heard:?}");
    assert!(heard.iter().all(|(_, token)| token == "Bearer first"), "{heard:?}");
}

#[tokio::test]
async fn a_token_that_was_renewed_in_its_file_is_sent_with_the_next_call() {
    let mut tasks = JoinSet::new();
    let (address, calls) = doorkeeper(&mut tasks).await;
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "token", "first");
    let builder = Client::builder(&format!("http://{address}")).token_file(&file);
    let client = builder.connect_lazy().unwrap();
    client.submit(work()).await.unwrap_err();
    write(directory.path(), "token", "second");
    client.submit(work()).await.unwrap_err();
    std::fs::remove_file(&file).unwrap();
    let error = client.submit(work()).await.unwrap_err();
    assert!(error.message().contains("the token file"), "{error}");
    let tokens: Vec<_> = calls.lock().unwrap().iter().map(|(_, token)| token.clone()).collect();
    assert_eq!(tokens, ["Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn a_server_that_nobody_trusted_vouches_for_is_told_nothing() {
    let stage = Stage::new().await;
    let other = write(stage.directory.path(), "other.pem", &Authority::new("other").pem());
    let wrong = [
        (Client::builder(&stage.url()).ca(other), "UnknownIssuer"),
        // Signed for localhost and 127.0.0.1.
        (
            Client::builder(&format!("https://ip6-localhost:{}", stage.tls.port()))
                .ca(stage.path("ca.pem")),
            "",
        ),
        (
            Client::builder(&format!("https://localhost:{}", stage.plain.port()))
                .ca(stage.path("ca.pem")),
            "",
        ),
        (Client::builder(&format!("http://localhost:{}", stage.tls.port())), ""),
    ];
    for (builder, why) in wrong {
        let client = builder.token("marked").connect_lazy().unwrap().with_retries(0);
        let error = client.submit(work()).await.unwrap_err();
        assert!(error.is_transient() && error.message().contains(why), "{error}");
        assert!(!format!("{error:?}").contains("marked"), "{error:?}");
    }
    stage.ends().await;
}

#[test]
fn files_that_cannot_be_used_are_named_before_any_call() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _within = runtime.enter();
    let directory = tempfile::tempdir().unwrap();
    let empty = write(directory.path(), "empty.pem", "");
    let builder = || Client::builder("https://localhost:1");
    for (wrong, why) in [
        (builder().ca("nosuch.pem"), "nosuch.pem"),
        (builder().ca(&empty), "no certificate"),
        (builder().identity(&empty, &empty), "no certificate"),
        (builder().token_file("nosuch"), "nosuch"),
        (builder().token("a b"), "visible ASCII"),
        (Client::builder("http://localhost:1").ca(&empty), "https:// only"),
    ] {
        let error = wrong.connect_lazy().unwrap_err();
        assert!(error.message().contains(why), "{error}");
    }
}
