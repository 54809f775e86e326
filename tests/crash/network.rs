//! Two replicas whose connections to the database go through a bad network: it stalls, loses answers, closes one
//! way, cuts. Each at any byte, so at any stage of a commit, and what became of that commit is found out.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::balancer::Balancer;
use crate::host::{Host, ServerProcess, free_port};
use crate::postgres_support::Cluster;
use crate::{Plan, try_out};

const REPLICAS: usize = 2;
/// The longest that the network is bad at a time.
const LONGEST: Duration = Duration::from_millis(2_500);
/// It becomes bad behind so many bytes of a connection at most.
const FAR: usize = 8 << 10;

/// What a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// It carries everything.
    Fair,
    /// It carries nothing, and loses nothing.
    Stalled,
    /// Questions arrive, answers do not.
    Deaf,
    /// The server hears that there will be no more questions.
    HalfClosed,
    /// All connections are cut, and none are made.
    Cut,
}

/// The network of one replica.
struct Network {
    port: u16,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

impl Network {
    async fn start(server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let weather = watch::Sender::new(Weather::Fair);
        let seen = weather.subscribe();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() != Weather::Cut {
                    connections.spawn(carry(client, ([127, 0, 0, 1], server).into(), seen.clone()));
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, weather, task })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut seen: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, seen.clone(), Weather::HalfClosed);
    let down = copy(from_server, to_client, seen.clone(), Weather::Deaf);
    let both = async { tokio::join!(up, down) };
    tokio::select! {
        _ = both => {}
        _ = seen.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

/// One way. In `bad` weather it is closed if it leads to the server, or else stalled.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut seen: watch::Receiver<Weather>,
    bad: Weather,
) {
    let mut buffer = [0; 4_096];
    let mut left = FAR;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let mut sent = 0;
        while sent < read {
            let weather = *seen.borrow_and_update();
            if weather == Weather::Fair {
                left = fastrand::usize(..FAR);
            }
            let foul = weather == Weather::Stalled || weather == bad;
            // Up to here it goes.
            let most = if foul { left.min(read - sent) } else { read - sent };
            if to.write_all(&buffer[sent..sent + most]).await.is_err() {
                return;
            }
            (sent, left) = (sent + most, left.saturating_sub(most));
            if foul && left == 0 {
                if bad == Weather::HalfClosed && weather == bad {
                    return;
                }
                if seen.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

struct BadNetwork {
    _cluster: Cluster,
    networks: Vec<Network>,
    balancer: Balancer,
    replicas: Vec<ServerProcess>,
    rng: fastrand::Rng,
    bad: Option<usize>,
    started: bool,
}

impl BadNetwork {
    async fn new(mut rng: fastrand::Rng) -> anyhow::Result<Self> {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await?;
        let ports: Vec<u16> = (0..REPLICAS).map(|_| free_port()).collect();
        let addresses = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        let balancer = Balancer::start(addresses, rng.fork()).await?;
        let (mut networks, mut replicas) = (Vec::new(), Vec::new());
        for port in ports {
            let network = Network::start(cluster.port()).await?;
            let store = format!("postgres://longrun@127.0.0.1:{}/postgres", network.port);
            replicas.push(ServerProcess::new(port, store));
            networks.push(network);
        }
        Ok(Self { _cluster: cluster, networks, balancer, replicas, rng, bad: None, started: false })
    }
}

impl Host for BadNetwork {
    fn url(&self) -> String {
        self.balancer.url.clone()
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.started, true) {
            let starts = self.replicas.iter_mut().map(Host::start);
            futures_util::future::try_join_all(starts).await?;
        }
        if let Some(number) = self.bad.take() {
            sleep(LONGEST.mul_f64(self.rng.f64())).await;
            let weather = &self.networks[number].weather;
            // What was only held back goes on; what was lost does not come again.
            if *weather.borrow() != Weather::Stalled {
                weather.send_replace(Weather::Cut);
                sleep(Duration::from_millis(20)).await;
            }
            weather.send_replace(Weather::Fair);
        }
        Ok(())
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        let number = self.rng.usize(..REPLICAS);
        let bad = [Weather::Stalled, Weather::Deaf, Weather::HalfClosed, Weather::Cut];
        let weather = bad[self.rng.usize(..bad.len())];
        self.networks[number].weather.send_replace(weather);
        self.bad = Some(number);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_changed_or_doubled_when_the_way_to_the_database_is_bad() {
    let plan = Plan::of(16, 1);
    let mut host = BadNetwork::new(fastrand::Rng::with_seed(plan.seed)).await.unwrap();
    if let Err(violations) = try_out(&mut host, plan).await {
        panic!("{violations}");
    }
}
