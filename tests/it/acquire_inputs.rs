//! The inputs of attempts that are acquired: they come along, wherever they are kept, as far as a response has room.

use longrun::proto::v1::operation::State;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::*;
use tonic::Code;

use crate::large::{a_server, files};
use crate::support::*;

fn acquire(kinds: &[&str], max_attempts: i32) -> AcquireRequest {
    AcquireRequest {
        worker_id: "caller".to_owned(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        max_attempts,
        ..Default::default()
    }
}

async fn acquired(api: &Api, request: AcquireRequest) -> Vec<AcquiredAttempt> {
    soon(api.workers().acquire(request)).await.unwrap().into_inner().attempts
}

#[tokio::test]
async fn inputs_come_along_wherever_they_are_kept_as_far_as_an_answer_has_room() {
    let server = TestServer::start().await;
    for bytes in [1 << 20, (1 << 20) + 1, 1 << 20, 1 << 20, 1, 3 << 20, (3 << 20) + 1] {
        let input = Some(data(vec![b'x'; bytes]));
        server.submit(SubmitRequest { input, ..submission("large") }).await;
    }
    let came = |attempts: Vec<AcquiredAttempt>| -> Vec<(i64, bool)> {
        let inputs = attempts.into_iter().map(|attempt| attempt.input.unwrap());
        let came = inputs.map(|input| {
            let data = match input.content {
                Some(Content::Data(data)) => data.len() as i64,
                _ => 0,
            };
            assert_eq!(data, if input.omitted { 0 } else { input.size_bytes });
            (input.size_bytes, !input.omitted)
        });
        came.collect()
    };
    let first = came(acquired(&server, acquire(&["large"], 5)).await);
    let mega = 1 << 20;
    assert_eq!(first, [(mega, true), (mega + 1, true), (mega, false), (mega, false), (1, true)]);
    let second = came(acquired(&server, acquire(&["large"], 2)).await);
    assert_eq!(second, [(3 * mega, true), (3 * mega + 1, false)]);
}

#[tokio::test]
async fn inputs_that_have_no_room_in_an_answer_are_read_apart() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(data(vec![b'x'; 200 << 10])), ..submission("large") };
    for _ in 0..4 {
        server.submit_batch(vec![request.clone(); 5]).await;
    }
    // The stub's own limit for a message is 4 MiB.
    let attempts = acquired(&server, acquire(&["large"], 20)).await;
    assert_eq!(attempts.len(), 20);
    let (omitted, inline): (Vec<_>, Vec<_>) =
        attempts.into_iter().partition(|it| it.input.as_ref().unwrap().omitted);
    assert_eq!((inline.len(), omitted.len()), (15, 5));
    let read = ReadInputRequest {
        name: omitted[0].operation.as_ref().unwrap().name.clone(),
        attempt_token: omitted[0].token.clone(),
        ..Default::default()
    };
    let chunks = soon(server.operations().read_input(read)).await.unwrap().into_inner();
    let read: usize = Watching(chunks).rest().await.iter().map(|chunk| chunk.data.len()).sum();
    assert_eq!(read, 200 << 10);
}

#[tokio::test]
async fn an_attempt_whose_input_cannot_be_read_now_goes_back_to_the_queue() {
    let (server, objects) = a_server().await;
    let input = Some(data(vec![b'x'; 2_000]));
    let request = SubmitRequest { input, ..submission("large") };
    let operation = server.submit(with_settings(request, attempts(1))).await;
    // A link to itself: there is something, which does not open.
    let file = files(&objects).pop().unwrap();
    let aside = objects.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let refused = soon(server.workers().acquire(acquire(&["large"], 1))).await.refused();
    refused.is(Code::Unavailable, "UNAVAILABLE");
    let queued = server.get(&operation.name).await;
    assert_eq!((queued.state(), queued.attempts_used), (State::Queued, 0));
    // What is gone for good, its worker is to tell.
    std::fs::remove_file(&file).unwrap();
    let attempts = acquired(&server, acquire(&["large"], 1)).await;
    assert!(attempts[0].input.as_ref().unwrap().omitted);
    let release = ReleaseRequest { token: attempts[0].token.clone() };
    soon(server.workers().release(release)).await.unwrap();
    std::fs::rename(&aside, &file).unwrap();
    let attempts = acquired(&server, acquire(&["large"], 1)).await;
    let content = attempts[0].input.clone().unwrap().content;
    assert_eq!(content, Some(Content::Data(vec![b'x'; 2_000].into())));
}
