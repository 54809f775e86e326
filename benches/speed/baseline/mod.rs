//! What a bare server does on this machine: tonic with one SQLite writer and nothing else.
//!
//! Two calls. `Echo` answers with as many bytes as it is asked for. `Step` is one of the four
//! transitions of a life (submit, claim, progress, complete), answered after its group commit. The
//! client of a life makes all four calls itself.

use std::convert::Infallible;
use std::path::Path;
use std::task::{Context, Poll};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

mod load;
mod writer;

pub(crate) use load::{Calls, load};

#[derive(Clone, PartialEq, prost::Message)]
struct EchoRequest {
    #[prost(bytes = "bytes", tag = "1")]
    payload: bytes::Bytes,
    /// How many bytes to answer with.
    #[prost(uint32, tag = "2")]
    answer: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EchoAnswer {
    #[prost(bytes = "bytes", tag = "1")]
    payload: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StepRequest {
    /// 0 submit, 1 claim, 2 progress, 3 complete.
    #[prost(uint32, tag = "1")]
    step: u32,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(uint64, tag = "3")]
    client: u64,
    #[prost(bytes = "vec", tag = "4")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StepAnswer {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}

type Job = (StepRequest, oneshot::Sender<Option<Vec<u8>>>);

/// The service.
#[derive(Clone)]
struct Bare {
    jobs: mpsc::Sender<Job>,
}

impl tonic::server::NamedService for Bare {
    const NAME: &'static str = "bare.Bare";
}

impl tower::Service<http::Request<tonic::body::Body>> for Bare {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let jobs = self.jobs.clone();
        Box::pin(async move {
            if request.uri().path() == "/bare.Bare/Echo" {
                let codec = ProstCodec::<EchoAnswer, EchoRequest>::default();
                let echo = tower::service_fn(|request: Request<EchoRequest>| async move {
                    let EchoRequest { payload, answer } = request.into_inner();
                    let payload = match answer as usize {
                        same if same == payload.len() => payload,
                        other => vec![7; other].into(),
                    };
                    Ok::<_, Status>(Response::new(EchoAnswer { payload }))
                });
                return Ok(tonic::server::Grpc::new(codec).unary(echo, request).await);
            }
            let codec = ProstCodec::<StepAnswer, StepRequest>::default();
            let step = tower::service_fn(move |request: Request<StepRequest>| {
                let jobs = jobs.clone();
                async move {
                    let gone = |_| Status::unavailable("the writer has ended");
                    let (answer, answered) = oneshot::channel();
                    let job = (request.into_inner(), answer);
                    jobs.send(job)
                        .await
                        .map_err(|_| Status::unavailable("the writer has ended"))?;
                    match answered.await.map_err(gone)? {
                        Some(id) => Ok(Response::new(StepAnswer { id })),
                        None => Err(Status::not_found("there is none")),
                    }
                }
            });
            Ok(tonic::server::Grpc::new(codec).unary(step, request).await)
        })
    }
}

/// Serves on a free port, which it prints, until it is killed.
pub(crate) async fn serve(directory: &Path) -> anyhow::Result<()> {
    let (jobs, queue) = mpsc::channel(4_096);
    let connection = writer::open(directory).context("the store cannot be opened")?;
    let writer = std::thread::spawn(move || writer::write(connection, queue));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let served = tonic::transport::Server::builder()
        .add_service(Bare { jobs })
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await;
    served?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?
}
