//! A primary whose synchronous standby is away: it commits, and answers nobody.

use std::time::Duration;

use longrun::proto::v1::operation::State;
use longrun::proto::v1::{GetOperationRequest, SubmitRequest};
use tokio::time::sleep;
use tokio_postgres::Client;
use tonic::Code;

use crate::postgres_support::{Cluster, connect};
use crate::support::{Replica, soon};

/// Connections that wait for the standby.
const WAITING: &str =
    "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = $1";

/// The process of a connection that waits for the standby.
async fn waiting(admin: &Client, name: &str) -> i32 {
    soon(async {
        loop {
            match admin.query(WAITING, &[&name]).await.unwrap().first() {
                Some(row) => return row.get(0),
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
}

/// From when this returns on, nothing is committed without a standby that is not there.
async fn miss_a_standby(cluster: &Cluster, admin: &Client) {
    cluster.set("synchronous_standby_names", "nobody").await;
    // New connections know by then, those that are there may not.
    let url = format!("{}?application_name=probe", cluster.url("postgres"));
    let probe = connect(&url).await;
    let probing = async {
        let mut number = 0;
        loop {
            number += 1;
            probe.batch_execute(&format!("CREATE TABLE probe_{number} ()")).await.unwrap();
        }
    };
    tokio::select! {
        () = probing => {}
        _ = waiting(admin, "probe") => {}
    }
}

#[tokio::test]
async fn a_commit_is_not_believed_that_did_not_wait_for_its_standby() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let of = |name: &str| format!("{}?application_name={name}", cluster.url("postgres"));
    let [a, b] = ["a", "b"].map(|name| Replica::start(&of(name), &[]));
    let admin = connect(&cluster.url("postgres")).await;
    let before = a.submit("before").await;
    miss_a_standby(&cluster, &admin).await;

    let submit = SubmitRequest {
        kind: "during".to_owned(),
        idempotency_key: "one".to_owned(),
        ..SubmitRequest::default()
    };
    let mut submitting = tokio::spawn({
        let (mut operations, submit) = (a.operations(), submit.clone());
        async move { operations.submit(submit).await }
    });
    let writer = waiting(&admin, "a").await;
    assert!(!submitting.is_finished());
    // PostgreSQL answers the commit with a warning, and everybody can read what it wrote.
    let cancelled = admin.query_one("SELECT pg_cancel_backend($1)", &[&writer]).await.unwrap();
    assert!(cancelled.get::<_, bool>(0));
    let refused = soon(&mut submitting).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let written = "SELECT count(*) FROM operations WHERE kind = 'during'";
    assert_eq!(admin.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 1);
    // It writes again, which waits in its turn.
    waiting(&admin, "a").await;

    // Meanwhile everything can be read, also while the replicas say that they are there; and others may come.
    let renewed = async || {
        let last = "SELECT min(expires_at)::text FROM replicas WHERE expires_at > now()";
        admin.query_one(last, &[]).await.unwrap().get::<_, Option<String>>(0)
    };
    let (mut last, mut renewals) = (renewed().await, 0);
    while renewals < 2 {
        for replica in [&a, &b] {
            let name = before.name.clone();
            let asked = GetOperationRequest { name, ..GetOperationRequest::default() };
            soon(replica.operations().get_operation(asked)).await.unwrap();
        }
        let now = renewed().await;
        renewals += usize::from(now != last);
        last = now;
        sleep(Duration::from_millis(20)).await;
    }
    let c = Replica::start(&of("c"), &[]);
    let mut watch = c.watch(&before).await;
    assert_eq!(watch.transition().await, (1, State::Queued));

    cluster.set("synchronous_standby_names", "").await;
    // It was written once, and is what is answered now.
    let operation = soon(async {
        loop {
            match a.operations().submit(submit.clone()).await {
                Ok(operation) => return operation.into_inner(),
                Err(refused) => assert_eq!(refused.code(), Code::Unavailable, "{refused:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(admin.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 1);
    let mut watch = b.watch(&operation).await;
    assert_eq!(watch.transition().await, (1, State::Queued));
}
