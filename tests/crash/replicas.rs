//! Three replicas behind a load balancer, on one PostgreSQL. Any of them is killed at any moment, and so is
//! the database: everybody is told the same as by one server that never dies.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::balancer::Balancer;
use crate::history;
use crate::host::{Host, ServerProcess, free_port};
use crate::load::Crowd;
use crate::postgres::Cluster;
use crate::{Plan, run, summary, tell, variable};

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
        let cluster = Cluster::start()?;
        let store = cluster.create_database()?;
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
            Some(Down::Database) => self.cluster.restart()?,
            None => {}
        }
        Ok(())
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.down = Some(if self.rng.u32(..DATABASE) == 0 {
            self.cluster.stop_immediately()?;
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
    let plan = Plan {
        seed: variable("LONGRUN_CRASH_SEED", fastrand::u64(..1 << 32)),
        kills: variable("LONGRUN_CRASH_KILLS", 24),
        longest_uptime: Duration::from_millis(variable("LONGRUN_CRASH_UPTIME_MS", 700)),
        crowd: Crowd { submitters: 4, workers: 5, meddlers: 3, forgers: 2 }
            .times(variable("LONGRUN_CRASH_CROWD", 1)),
        drain: Duration::from_secs(60),
    };
    println!("LONGRUN_CRASH_SEED={}", plan.seed);
    let mut host = Replicas::new(fastrand::Rng::with_seed(plan.seed)).await.unwrap();
    let begun = Instant::now();
    let history = run(&mut host, plan).await.unwrap();
    let violations = history::check(&history);
    println!("{} in {:.1?}", summary(&history, plan.kills), begun.elapsed());
    if !violations.is_empty() {
        panic!("{}", tell(&history, &violations));
    }
    assert!(history.finals.len() > 2 * plan.kills as usize, "there was next to no load");
}
