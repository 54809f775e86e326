//! Keys are known to all replicas within a second, and revoked ones no longer.

use std::time::{Duration, Instant};

use longrun::proto::v1::admin_client::AdminClient;
use longrun::proto::v1::{CreateKeyRequest, ListOperationsRequest, RevokeKeyRequest};
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use crate::support::*;

fn with<M>(message: M, key: &str) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

async fn list(replica: &Replica, key: &str) -> Result<(), Code> {
    let request = with(ListOperationsRequest::default(), key);
    let listed = soon(replica.operations().list_operations(request)).await;
    listed.map(drop).map_err(|status| status.code())
}

/// How long it takes until the replica answers the key so.
async fn until(replica: &Replica, key: &str, expected: Result<(), Code>) -> Duration {
    let began = Instant::now();
    while list(replica, key).await != expected {
        assert!(began.elapsed() < Duration::from_secs(20), "it never answers {expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn a_key_is_good_and_revoked_at_all_replicas_within_a_second() {
    let database = crate::postgres_support::database().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("first.key");
    let flags = ["--bootstrap-key-file", path.to_str().unwrap()];
    let replicas = [(); 3].map(|()| Replica::start(&database.url, &flags));
    let operator = std::fs::read_to_string(&path).unwrap();
    let operator = operator.trim();
    let channel = Endpoint::from_shared(replicas[0].url.clone()).unwrap().connect_lazy();
    let mut admin = AdminClient::new(channel);
    for replica in &replicas {
        until(replica, operator, Ok(())).await;
    }
    let mut times = Vec::new();
    for _ in 0..3 {
        let request = CreateKeyRequest { roles: vec!["read".to_owned()], ..Default::default() };
        let made = soon(admin.create_key(with(request, operator))).await.unwrap().into_inner();
        let (key, key_id) = (made.secret, made.key.unwrap().key_id);
        assert_eq!(list(&replicas[0], &key).await, Ok(()));
        for replica in &replicas[1..] {
            times.push(until(replica, &key, Ok(())).await);
        }
        let revoke = RevokeKeyRequest { key_id };
        soon(admin.revoke_key(with(revoke, operator))).await.unwrap();
        let revoked = Err(Code::Unauthenticated);
        assert_eq!(list(&replicas[0], &key).await, revoked);
        for replica in &replicas[1..] {
            times.push(until(replica, &key, revoked).await);
        }
    }
    // But for what else this machine has to do.
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_secs(1), "{times:?}");
}
