//! The database goes away and comes back; nobody is restarted.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use longrun::proto::v1::operation::State;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{Complete, GetOperationRequest, SubmitRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::postgres_support::Cluster;
use crate::support::{Replica, attempt};

/// The longest that a call may take while there is no database.
const BOUND: Duration = Duration::from_secs(20);

fn check(refused: Status, begun: Instant) {
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

/// The status of a GET.
fn get(replica: &Replica, path: &str) -> u16 {
    let mut socket = TcpStream::connect(replica.url.trim_start_matches("http://")).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_waits_for_the_database_and_goes_on() {
    let mut cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let store = cluster.url("postgres");
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let mut work = a.work("patient", None, Vec::new()).await;
    let operation = b.submit("patient").await;
    let mut watch = b.watch(&operation).await;
    let assignment = work.assignment().await;
    while watch.transition().await != (2, State::Running) {}

    cluster.stop();
    let begun = Instant::now();
    let submit = SubmitRequest { kind: "patient".to_owned(), ..Default::default() };
    check(a.operations().submit(submit.clone()).await.unwrap_err(), begun);
    let begun = Instant::now();
    let name = operation.name.clone();
    let asked = GetOperationRequest { name, ..Default::default() };
    check(b.operations().get_operation(asked).await.unwrap_err(), begun);
    // The one that was asked to write knows, and says so; it lives all the same.
    assert_eq!((get(&a, "/readyz"), get(&a, "/livez")), (503, 200));
    // The watch is still there, for longer than it would be silent.
    for _ in 0..3 {
        assert_eq!(watch.message().await.r#type(), Type::Heartbeat);
    }
    // The work is done meanwhile; its report has to wait.
    let report = |report_id| {
        let attempt = Some(attempt(&assignment));
        Up::Complete(Complete { attempt, report_id, ..Default::default() })
    };
    work.say(report(1)).await;
    match work.heard().await {
        Down::Ack(ack) => {
            assert_eq!(ack.error.unwrap().status_code, i32::from(Code::Unavailable));
        }
        other => panic!("no answer but {other:?}"),
    }

    cluster.restart();
    for report_id in 2.. {
        work.say(report(report_id)).await;
        match work.heard().await {
            Down::Ack(ack) if ack.error.is_none() => break,
            Down::Ack(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            other => panic!("no answer but {other:?}"),
        }
    }
    // On the same stream, at the other replica.
    assert_eq!(watch.transition().await, (3, State::Succeeded));
    while get(&a, "/readyz") != 200 || get(&b, "/readyz") != 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    b.submit("patient").await;
}
