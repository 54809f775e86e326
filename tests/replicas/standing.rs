//! Why an operation waits and who works, as any replica says it.

use longrun::proto::v1::waiting::Reason;
use longrun::proto::v1::{GetOperationRequest, ListKindsRequest, ListWorkersRequest, Waiting};

use crate::postgres_support::database;
use crate::support::{Replica, soon};

async fn waits(replica: &Replica, name: &str, words: (Reason, &str)) {
    soon(async {
        loop {
            let request = GetOperationRequest { name: name.to_owned(), ..Default::default() };
            let got = replica.operations().get_operation(request).await.unwrap().into_inner();
            let waiting: Waiting = got.waiting.unwrap_or_default();
            if (waiting.reason(), waiting.message.as_str()) == words {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_replica_knows_the_workers_of_all() {
    let store = database().await.url;
    let [a, b, c] = [(); 3].map(|()| Replica::start(&store, &[]));
    let mut work = c.work("served", None, Vec::new()).await;
    let lonely = a.submit("lonely").await.name;
    let words = (Reason::NoWorker, "no worker serves lonely (serving now: served)");
    for replica in [&a, &b, &c] {
        waits(replica, &lonely, words).await;
    }
    a.submit("served").await;
    work.assignment().await;
    let more = b.submit("served").await.name;
    let words = (Reason::WorkersBusy, "all 1 places of the worker that serves served are taken");
    for replica in [&a, &b, &c] {
        waits(replica, &more, words).await;
    }
    let request = ListWorkersRequest { kind: "served".to_owned() };
    for (replica, is_elsewhere) in [(&a, true), (&c, false)] {
        let listed = replica.operations().list_workers(request.clone()).await.unwrap().into_inner();
        let [worker] = listed.workers.as_slice() else { panic!("{listed:?}") };
        assert_eq!((worker.other_replica, worker.running), (is_elsewhere, 1));
    }
    // How much there is of each kind is counted now and then.
    let expected = [("lonely", 1, 0, 0), ("served", 1, 1, 1)];
    soon(async {
        loop {
            let kinds = b.operations().list_kinds(ListKindsRequest {}).await.unwrap().into_inner();
            let seen = kinds.kinds.iter();
            let seen = seen.map(|it| (it.kind.as_str(), it.queued, it.running, it.workers));
            if seen.eq(expected) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}
