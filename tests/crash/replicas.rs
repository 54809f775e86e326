//! Three replicas behind a load balancer, on one PostgreSQL. Any of them is killed at any moment, and so is
//! the database: everybody is told the same as by one server that never dies.

use std::net::SocketAddr;

use crate::balancer::Balancer;
use crate::host::{Host, ServerProcess, free_port};
use crate::postgres_support::Cluster;
use crate::{Plan, try_out};

const REPLICAS: usize = 3;
/// Of so many kills one is the database's.
const DATABASE: u32 = 5;

/// The replicas, and what they need.
struct Replicas {
    cluster: Cluster,
    balancer: Balancer,
    replicas: Vec<ServerProcess>,
    rng: fastrand::Rng,
    /// What is down.
    down: Option<Down>,
}

enum Down {
    All,
    Replica(usize),
    Database,
}

impl Replicas {
    async fn new(mut rng: fastrand::Rng) -> anyhow::Result<Self> {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await?;
        let store = cluster.url("postgres");
        let ports: Vec<u16> = (0..REPLICAS).map(|_| free_port()).collect();
        let addresses = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port)));
        let balancer = Balancer::start(addresses.collect(), rng.fork()).await?;
        let replicas = ports.iter().map(|port| ServerProcess::new(*port, store.clone())).collect();
        Ok(Self { cluster, balancer, replicas, rng, down: Some(Down::All) })
    }
}

impl Host for Replicas {
    fn url(&self) -> String {
        self.balancer.url.clone()
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        match self.down.take() {
            Some(Down::All) => {
                // All at once: one of them makes the tables.
                let starts = self.replicas.iter_mut().map(Host::start);
                futures_util::future::try_join_all(starts).await?;
            }
            Some(Down::Replica(number)) => self.replicas[number].start().await?,
            Some(Down::Database) => self.cluster.restart(),
            None => {}
        }
        Ok(())
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.down = Some(if self.rng.u32(..DATABASE) == 0 {
            self.cluster.stop();
            Down::Database
        } else {
            let number = self.rng.usize(..REPLICAS);
            self.replicas[number].kill().await?;
            Down::Replica(number)
        });
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_changed_or_doubled_when_replicas_and_their_database_are_killed() {
    let plan = Plan::of(24, 2);
    let mut host = Replicas::new(fastrand::Rng::with_seed(plan.seed)).await.unwrap();
    if let Err(violations) = try_out(&mut host, plan).await {
        panic!("{violations}");
    }
}
