//! The clients of the bare server, in a closed loop.

use std::time::{Duration, Instant};

use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::{EchoAnswer, EchoRequest, StepAnswer, StepRequest};

/// What the clients are to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Calls {
    /// Echoes of so many bytes, answered with so many.
    Echo { bytes: usize, answer: u32 },
    /// Lives of four calls each.
    Lives,
}

/// Calls in a closed loop; prints how many, and each one's microseconds at the median and the 99th
/// percentile.
pub(crate) async fn load(
    url: &str,
    calls: Calls,
    clients: usize,
    connections: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let mut channels = Vec::new();
    for _ in 0..connections {
        channels.push(Endpoint::from_shared(url.to_owned())?.connect().await?);
    }
    let until = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        let channel = channels[number % connections].clone();
        tasks.spawn(client(channel, calls, number as u64, until));
    }
    let mut times = Vec::new();
    while let Some(more) = tasks.join_next().await {
        times.extend(more??);
    }
    times.sort_unstable();
    let at = |share: f64| {
        times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(0)
    };
    println!("{} {} {}", times.len(), at(0.5), at(0.99));
    Ok(())
}

async fn client(
    channel: Channel,
    calls: Calls,
    number: u64,
    until: Instant,
) -> anyhow::Result<Vec<u32>> {
    let mut grpc = tonic::client::Grpc::new(channel);
    let mut times = Vec::new();
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(times);
        }
        match calls {
            Calls::Echo { bytes, answer } => {
                let request = EchoRequest { payload: vec![5; bytes].into(), answer };
                let codec = ProstCodec::<EchoRequest, EchoAnswer>::default();
                grpc.ready().await?;
                let path = http::uri::PathAndQuery::from_static("/bare.Bare/Echo");
                grpc.unary(Request::new(request), path, codec).await?;
            }
            Calls::Lives => {
                let mut id = Vec::new();
                for step in 0..4 {
                    let payload = if step % 3 == 0 { vec![5; 300] } else { Vec::new() };
                    let request = StepRequest { step, id, client: number, payload };
                    let codec = ProstCodec::<StepRequest, StepAnswer>::default();
                    grpc.ready().await?;
                    let path = http::uri::PathAndQuery::from_static("/bare.Bare/Step");
                    id = grpc.unary(Request::new(request), path, codec).await?.into_inner().id;
                }
            }
        }
        times.push(began.elapsed().as_micros() as u32);
    }
}
