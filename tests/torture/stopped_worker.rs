//! A worker that is stopped (SIGSTOP) beyond its lease, and goes on as if nothing had been.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longrun::proto::v1::operation::State;
use longrun::proto::v1::{OperationView, SubmitRequest, payload};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{PATIENCE, Program, Setup};

/// Ended with the test.
struct WorkerProcess(Child);

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn worker(server: &Program, kind: &str, line: &str) -> WorkerProcess {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    command.args(["worker", "--server", &server.url, kind, "--", "sh", "-c", line]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    WorkerProcess(command.spawn().unwrap())
}

async fn until_exists(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < PATIENCE, "{} was not made", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_reports_after_its_lease_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let server = Setup::new(&path.join("longrun.db")).with(&["--lease-duration", "1s"]).start();
    let client = server.client();
    let submit = |kind: &str| SubmitRequest { kind: kind.to_owned(), ..SubmitRequest::default() };
    let operation = client.submit(submit("slow")).await.unwrap();

    let (begun, go_on) = (path.join("begun"), path.join("go-on"));
    let line = format!(
        "touch '{}'; while ! test -e '{}'; do sleep 0.05; done; echo late",
        begun.display(),
        go_on.display()
    );
    let stopped = worker(&server, "slow", &line);
    until_exists(&begun).await;
    kill_process(Pid::from_child(&stopped.0), Signal::STOP).unwrap();

    let _other = worker(&server, "slow", "echo in time");
    let done = client.wait(&operation.name, Some(PATIENCE)).await.unwrap();
    assert_eq!((done.state(), done.attempt), (State::Succeeded, 2), "{done:?}");

    // It wakes up with its result and reports it. When it takes work again, it has been answered.
    std::fs::write(&go_on, "").unwrap();
    kill_process(Pid::from_child(&stopped.0), Signal::CONT).unwrap();
    drop(_other);
    let next = client.submit(submit("slow")).await.unwrap();
    client.wait(&next.name, Some(PATIENCE)).await.unwrap();

    let after = client.get(&operation.name, OperationView::Full).await.unwrap();
    assert_eq!((after.revision, after.attempt), (done.revision, 2));
    let result = after.result.and_then(|result| result.content);
    assert_eq!(result, Some(payload::Content::Text("in time\n".to_owned())));
}
