//! Limits that are set at one replica hold at all within a second.

use std::time::{Duration, Instant};

use longrun::proto::v1::admin_client::AdminClient;
use longrun::proto::v1::{
    DeleteLimitRequest, ListKindsRequest, PauseKindRequest, ResumeKindRequest, SetLimitRequest,
    SubmitRequest,
};
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::*;

/// Whether the replica takes an operation with an input of 100 bytes.
async fn takes(replica: &Replica) -> bool {
    let input = longrun::proto::v1::Payload {
        content: Some(longrun::proto::v1::payload::Content::Text("x".repeat(100))),
        ..Default::default()
    };
    let request = SubmitRequest { kind: "k".into(), input: Some(input), ..Default::default() };
    match soon(replica.operations().submit(request)).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            false
        }
    }
}

async fn until(replica: &Replica, expected: bool) -> Duration {
    let began = Instant::now();
    while takes(replica).await != expected {
        assert!(began.elapsed() < Duration::from_secs(20), "it never holds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn a_limit_is_set_and_deleted_at_all_replicas_within_a_second() {
    let database = crate::postgres_support::database().await;
    let replicas = [(); 3].map(|()| Replica::start(&database.url, &[]));
    let channel = Endpoint::from_shared(replicas[0].url.clone()).unwrap().connect_lazy();
    let mut admin = AdminClient::new(channel);
    let mut times = Vec::new();
    for _ in 0..3 {
        let set = SetLimitRequest { what: "payload_bytes".into(), most: 99, ..Default::default() };
        soon(admin.set_limit(set)).await.unwrap();
        assert!(!takes(&replicas[0]).await, "it holds at once where it was set");
        for replica in &replicas[1..] {
            times.push(until(replica, false).await);
        }
        let delete = DeleteLimitRequest { what: "payload-bytes".into(), ..Default::default() };
        soon(admin.delete_limit(delete)).await.unwrap();
        assert!(takes(&replicas[0]).await);
        for replica in &replicas[1..] {
            times.push(until(replica, true).await);
        }
    }
    // Except for what else this machine has to do.
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_secs(1), "{times:?}");
}

#[tokio::test]
async fn a_kind_is_paused_and_resumed_at_all_replicas_within_a_second() {
    let database = crate::postgres_support::database().await;
    let replicas = [(); 2].map(|()| Replica::start(&database.url, &[]));
    let channel = Endpoint::from_shared(replicas[0].url.clone()).unwrap().connect_lazy();
    let mut admin = AdminClient::new(channel);
    let is_paused = async |replica: &Replica| {
        let mut operations = replica.operations();
        let listed = soon(operations.list_kinds(ListKindsRequest {})).await.unwrap().into_inner();
        listed.kinds.iter().any(|it| it.kind == "k" && it.paused)
    };
    let request = PauseKindRequest { kind: "k".into(), ..Default::default() };
    soon(admin.pause_kind(request)).await.unwrap();
    for replica in &replicas {
        let began = Instant::now();
        while !is_paused(replica).await {
            assert!(began.elapsed() < Duration::from_secs(20), "it is never paused");
        }
    }
    let request = ResumeKindRequest { kind: "k".into(), ..Default::default() };
    soon(admin.resume_kind(request)).await.unwrap();
    for replica in &replicas {
        let began = Instant::now();
        while is_paused(replica).await {
            assert!(began.elapsed() < Duration::from_secs(20), "it is never resumed");
        }
    }
}
