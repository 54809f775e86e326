//! Replicas on a primary with a synchronous standby. The primary dies under load, the standby is promoted, and the
//! service goes on by itself.

use std::time::Duration;

use longrun::client::Client;
use longrun::proto::v1::SubmitRequest;
use tokio::time::{Instant, sleep};

use crate::balancer::Balancer;
use crate::host::{Host, ServerProcess, free_port};
use crate::postgres_support::Cluster;
use crate::{Plan, try_out};

const REPLICAS: usize = 2;

struct Failover {
    primary: Cluster,
    standby: Cluster,
    balancer: Balancer,
    replicas: Vec<ServerProcess>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    NotStarted,
    OnPrimary,
    PrimaryDead(Instant),
    OnStandby,
    /// The one of the replicas that was killed last.
    ReplicaDead,
}

impl Failover {
    async fn new(rng: fastrand::Rng) -> anyhow::Result<Self> {
        let primary = tokio::task::spawn_blocking(Cluster::start).await?;
        let standby = primary.synchronous_standby().await;
        let store = format!(
            "postgres://longrun@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
            primary.port(),
            standby.port(),
        );
        let ports: Vec<u16> = (0..REPLICAS).map(|_| free_port()).collect();
        let addresses = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        let balancer = Balancer::start(addresses, rng).await?;
        let replicas = ports.iter().map(|port| ServerProcess::new(*port, store.clone())).collect();
        Ok(Self { primary, standby, balancer, replicas, stage: Stage::NotStarted })
    }

    /// Returns when a submission has been acknowledged.
    async fn resumed(&self) -> anyhow::Result<()> {
        let client = Client::connect(&self.url()).await?.with_retries(0);
        let request = SubmitRequest {
            kind: "crash.a".to_owned(),
            input: Some(crate::load::payload("the first after the failover".to_owned())),
            ..SubmitRequest::default()
        };
        while client.submit(request.clone()).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Host for Failover {
    fn url(&self) -> String {
        self.balancer.url.clone()
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        self.stage = match self.stage {
            Stage::NotStarted => {
                let starts = self.replicas.iter_mut().map(Host::start);
                futures_util::future::try_join_all(starts).await?;
                Stage::OnPrimary
            }
            Stage::PrimaryDead(since) => {
                self.standby.promote().await;
                let promoted = since.elapsed();
                self.resumed().await?;
                println!("promoted after {promoted:.1?}, resumed after {:.1?}", since.elapsed());
                Stage::OnStandby
            }
            Stage::ReplicaDead => {
                self.replicas[0].start().await?;
                Stage::OnStandby
            }
            stage => stage,
        };
        Ok(())
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.stage = if self.stage == Stage::OnPrimary {
            self.primary.stop();
            Stage::PrimaryDead(Instant::now())
        } else {
            self.replicas[0].kill().await?;
            Stage::ReplicaDead
        };
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_primary_dies_and_its_standby_takes_over() {
    // The first kill is the primary's, the others are a replica's.
    let plan = Plan { kills: 3, longest_uptime: Duration::from_secs(3), ..Plan::of(3, 1) };
    let mut host = Failover::new(fastrand::Rng::with_seed(plan.seed)).await.unwrap();
    if let Err(violations) = try_out(&mut host, plan).await {
        panic!("{violations}");
    }
}
