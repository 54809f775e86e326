//! Commands as handlers, with real processes.

use std::time::{Duration, SystemTime};

use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{CancelAttempt, Complete, Fail, Progress};
use longrun::worker::command::{Command, RetryOn};

use crate::fake::{Fake, Running, Stream, attempt, result_of, step};

/// A worker that runs `command`, with one attempt of it started.
async fn start(command: Command, input: &str) -> (Fake, Running, Stream) {
    let mut fake = Fake::start().await;
    let command = command.with_keeper(env!("CARGO_BIN_EXE_longrun"));
    let worker = Running::start(fake.worker().command("test", command));
    let stream = fake.session("s1").await;
    stream.assign("operations/1", input).await;
    (fake, worker, stream)
}

/// What a command did: its lines, its last progress, its end.
struct Ran {
    lines: Vec<String>,
    progress: Option<Progress>,
    end: Result<Complete, Fail>,
}

impl Ran {
    fn complete(&self) -> &Complete {
        self.end.as_ref().expect("the command failed")
    }

    /// Whether the failure is final, its code and its message.
    fn failure(&self) -> (bool, String, String) {
        let fail = self.end.as_ref().expect_err("the command did not fail");
        let error = fail.error.clone().unwrap();
        (fail.r#final, error.code, error.message)
    }
}

async fn finish(stream: &mut Stream) -> Ran {
    let (mut lines, mut progress) = (Vec::new(), None);
    let end = loop {
        match stream.next().await {
            Up::Progress(report) => progress = report.progress,
            Up::Log(log) => {
                lines.extend(log.lines);
                stream.ack(log.report_id).await;
            }
            Up::Complete(complete) => break Ok(complete),
            Up::Fail(fail) => break Err(fail),
            other => panic!("{other:?}"),
        }
    };
    Ran { lines, progress, end }
}

async fn run(command: Command, input: &str) -> Ran {
    let (_fake, _worker, mut stream) = start(command, input).await;
    finish(&mut stream).await
}

async fn sh(script: &str, input: &str) -> Ran {
    run(Command::shell(script), input).await
}

/// The message of the first progress.
async fn first_message(stream: &mut Stream) -> String {
    match stream.next().await {
        Up::Progress(report) => report.progress.unwrap().message,
        other => panic!("not progress: {other:?}"),
    }
}

/// The process id in a `pid 123` message.
async fn reported_pid(stream: &mut Stream) -> u32 {
    let message = first_message(stream).await;
    message.strip_prefix("pid ").and_then(|pid| pid.parse().ok()).expect(&message)
}

/// Whether the process runs; whether anybody has reaped it is not its own doing.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

async fn ended(pid: u32) {
    step("the process' end", async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_input_is_on_stdin_and_the_result_on_stdout() {
    let script = r#"cat; printf ' %s %s %s %s %s %s' "$LONGRUN_OPERATION" "$LONGRUN_KIND" \
        "$LONGRUN_ATTEMPT" "$LONGRUN_CONTENT_TYPE" "$LONGRUN_TENANT" "$LONGRUN_LABEL_TEAM_NAME""#;
    let ran = sh(script, "hello").await;
    let complete = ran.complete();
    assert_eq!(result_of(complete), b"hello operations/1 test 1 text/plain default blue");
    let argv = run(Command::new("printf", ["%s|", "a b", "$HOME"]), "").await;
    assert_eq!(result_of(argv.complete()), b"a b|$HOME|");
}

#[tokio::test]
async fn a_command_need_not_read_its_input_nor_write_a_result() {
    let ran = sh("exit 0", &"x".repeat(1 << 20)).await;
    assert!(ran.complete().result.is_none());
}

#[tokio::test]
async fn descriptor_3_carries_progress_and_the_media_type() {
    let script = "echo '40% copying' >&$LONGRUN_PROGRESS_FD; echo 'content-type: text/csv' >&3; \
                  echo '{\"done\":4,\"total\":10}' >&3; echo a,b";
    let ran = sh(script, "").await;
    assert_eq!(ran.progress.as_ref().unwrap().total_units, Some(10));
    let result = ran.complete().result.as_ref().unwrap();
    assert_eq!(result.content_type, "text/csv");
    assert_eq!(result_of(ran.complete()), b"a,b\n");
}

#[tokio::test]
async fn stderr_becomes_log_lines_and_the_message_of_a_failure() {
    let ran = sh("echo one >&2; echo two >&2; exit 1", "").await;
    assert_eq!(ran.lines, ["one", "two"]);
    assert_eq!(ran.failure(), (true, "EXIT_1".to_owned(), "one\ntwo".to_owned()));
}

/// The contract of `docs/workers.md`: what a command's end means.
#[tokio::test]
async fn the_end_of_a_command_says_whether_it_is_tried_again() {
    let (no_code, three): (RetryOn, RetryOn) = (RetryOn::default(), "3,64-78".parse().unwrap());
    let cases = [
        ("exit 75", &no_code, (false, "EXIT_75", "command exited with status 75")),
        ("exit 1", &no_code, (true, "EXIT_1", "command exited with status 1")),
        ("exit 3", &no_code, (true, "EXIT_3", "command exited with status 3")),
        ("exit 3", &three, (false, "EXIT_3", "command exited with status 3")),
        ("exit 70", &three, (false, "EXIT_70", "command exited with status 70")),
        ("exit 4", &three, (true, "EXIT_4", "command exited with status 4")),
        ("exit 255", &RetryOn::all(), (false, "EXIT_255", "command exited with status 255")),
        ("kill -9 $$", &no_code, (false, "SIGNAL_9", "command was ended by signal 9")),
        ("kill -SEGV $$", &no_code, (false, "SIGNAL_11", "command was ended by signal 11")),
        // What shells make of a signal.
        (
            "sh -c 'kill -SEGV $$' 2>&3; exit $?",
            &no_code,
            (false, "EXIT_139", "command exited with status 139"),
        ),
        ("exit 128", &no_code, (true, "EXIT_128", "command exited with status 128")),
        ("exit 160", &no_code, (true, "EXIT_160", "command exited with status 160")),
        ("echo why >&2; exit 1", &no_code, (true, "EXIT_1", "why")),
        ("echo 'error NoUser: no user 7' >&3; exit 1", &no_code, (true, "NoUser", "no user 7")),
        ("echo 'error: busy' >&3; exit 75", &no_code, (false, "ERROR", "busy")),
    ];
    for (script, retry_on, (is_final, code, message)) in cases {
        let command = Command::shell(script).with_retry_on(retry_on.clone());
        let expected = (is_final, code.to_owned(), message.to_owned());
        assert_eq!(run(command, "").await.failure(), expected, "{script}");
    }
}

#[tokio::test]
async fn warnings_and_errors_stand_beside_the_result_of_a_command_that_succeeds() {
    let script = "echo 'warning: slow disk' >&3; echo 'error NoSuchPage: page 7' >&3; echo pages";
    let ran = sh(script, "").await;
    let complete = ran.complete();
    assert_eq!(result_of(complete), b"pages\n");
    let warning = &complete.warnings[0];
    assert_eq!((&*warning.code, &*warning.message), ("WARNING", "slow disk"));
    let error = &complete.errors[0];
    assert_eq!((&*error.code, &*error.message), ("NoSuchPage", "page 7"));
}

#[tokio::test]
async fn results_keep_their_bytes() {
    let binary = sh(r"printf '\377\000\001'", "").await;
    let result = binary.complete().result.clone().unwrap();
    assert_eq!(result.content_type, "application/octet-stream");
    assert_eq!(result_of(binary.complete()), [0xff, 0, 1]);
    let json = sh(r#"printf '{"n": 1.000000000000000000001}'"#, "").await;
    assert_eq!(json.complete().result.clone().unwrap().content_type, "application/json");
    assert_eq!(result_of(json.complete()), br#"{"n": 1.000000000000000000001}"#);
}

#[tokio::test]
async fn a_result_that_is_too_large_is_refused_and_its_writer_killed() {
    let command = Command::shell("echo pid $$ >&3; exec yes").with_max_result_bytes(100_000);
    let (_fake, _worker, mut stream) = start(command, "").await;
    let pid = reported_pid(&mut stream).await;
    let (last, code, _message) = finish(&mut stream).await.failure();
    assert_eq!((last, code.as_str()), (true, "RESULT_TOO_LARGE"));
    ended(pid).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let (last, code, message) = run(Command::new("no-such-program", ["x"]), "").await.failure();
    assert_eq!((last, code.as_str()), (true, "COMMAND_NOT_STARTED"));
    assert!(message.contains("no-such-program"), "{message}");
}

#[tokio::test]
async fn a_cancel_ends_the_whole_group_even_who_ignores_it() {
    let stubborn = "sh -c 'trap \"\" TERM; echo pid $$ >&3; while :; do sleep 0.05; done' & wait";
    let (_fake, _worker, mut stream) = start(Command::shell(stubborn), "").await;
    let pid = reported_pid(&mut stream).await;
    let grace = SystemTime::now() + Duration::from_millis(300);
    let cancel = CancelAttempt {
        attempt: attempt("operations/1"),
        cause: Cause::CancelRequested.into(),
        reason: "enough".to_owned(),
        grace_deadline_time: Some(grace.into()),
    };
    stream.send(Down::Cancel(cancel)).await;
    let (_last, code, _message) = finish(&mut stream).await.failure();
    assert_eq!(code, "CANCELLED");
    assert!(SystemTime::now() >= grace, "it was not given its grace period");
    ended(pid).await;
}

/// The shell dies of the signal at once; what it has started cleans up for longer than pipes are waited for.
#[tokio::test]
async fn what_a_shell_has_started_has_the_whole_grace_period_too() {
    let script = "sh -c 'trap \"sleep 1.3; echo clean >&2; exit\" TERM; echo ready >&3;
                         while :; do sleep 0.02; done' & wait";
    let (_fake, _worker, mut stream) = start(Command::shell(script), "").await;
    assert_eq!(first_message(&mut stream).await, "ready");
    stream.cancel("operations/1", Cause::CancelRequested, "").await;
    let ran = finish(&mut stream).await;
    assert!(ran.lines.iter().any(|line| line == "clean"), "{:?}", ran.lines);
}

/// A process in a session of its own gets the signal and the time, and ends when the time is up.
#[tokio::test]
async fn a_cancel_reaches_what_has_left_the_group() {
    let script = "setsid sh -c 'trap \"echo told >&2\" TERM; echo pid $$ >&3;
                                while :; do sleep 0.02; done' & wait";
    let (_fake, _worker, mut stream) = start(Command::shell(script), "").await;
    let pid = reported_pid(&mut stream).await;
    let grace = SystemTime::now() + Duration::from_millis(1_500);
    let cancel = CancelAttempt {
        attempt: attempt("operations/1"),
        cause: Cause::CancelRequested.into(),
        grace_deadline_time: Some(grace.into()),
        ..CancelAttempt::default()
    };
    stream.send(Down::Cancel(cancel)).await;
    let ran = finish(&mut stream).await;
    assert!(SystemTime::now() >= grace, "it was not given its grace period");
    assert!(ran.lines.iter().any(|line| line == "told"), "{:?}", ran.lines);
    assert!(!runs(pid), "it has outlived its command");
}

#[tokio::test]
async fn what_has_left_the_group_ends_with_the_command() {
    let script = "setsid sh -c 'echo pid $$ >&3; exec sleep 1000 >/dev/null 2>&1 3>&-' &
                  read line; echo done";
    let (_fake, _worker, mut stream) = start(Command::shell(script), "go\n").await;
    let pid = reported_pid(&mut stream).await;
    assert_eq!(result_of(finish(&mut stream).await.complete()), b"done\n");
    assert!(!runs(pid), "it has outlived its command");
}

#[tokio::test]
async fn a_command_may_end_well_when_it_is_told_to_stop() {
    let script = "trap 'echo partial; exit 0' TERM; echo ready >&3; while :; do sleep 0.02; done";
    let (_fake, _worker, mut stream) = start(Command::shell(script), "").await;
    assert_eq!(first_message(&mut stream).await, "ready");
    stream.cancel("operations/1", Cause::CancelRequested, "").await;
    assert_eq!(result_of(finish(&mut stream).await.complete()), b"partial\n");
}

#[tokio::test]
async fn what_a_command_leaves_behind_does_not_hold_it_up() {
    let script = "sleep 1000 & echo pid $! >&3; echo done";
    let (_fake, _worker, mut stream) = start(Command::shell(script), "").await;
    let pid = reported_pid(&mut stream).await;
    assert_eq!(result_of(finish(&mut stream).await.complete()), b"done\n");
    ended(pid).await;
}

#[tokio::test]
async fn a_worker_that_is_dropped_leaves_no_process_behind() {
    let script = "sh -c 'trap \"\" TERM; echo pid $$ >&3; while :; do sleep 0.05; done' & wait";
    let (_fake, worker, mut stream) = start(Command::shell(script), "").await;
    let pid = reported_pid(&mut stream).await;
    worker.abort().await;
    ended(pid).await;
}
