//! A client that submits: alone and in batches, with keys and without, the same key again at once,
//! later and after a crash, and the same key for something else.

use std::time::Duration;

use longrun::client::ClientError;
use longrun::proto::v1::{Operation, RetryOperationRequest, RetryPolicy, Settings, SubmitRequest};
use tonic::Code;

use crate::history::Name;
use crate::load::{Context, PAUSE, duration, text};

/// The kinds of work; each is served by some of the workers.
pub const KINDS: [&str; 3] = ["crash.a", "crash.b", "crash.c"];
/// How many of its own submissions a client remembers to repeat them.
const REMEMBERED: usize = 32;

/// One submitting client.
pub struct Submitter {
    context: Context,
    number: usize,
    rng: fastrand::Rng,
    made: u64,
    /// Acknowledged, with the key under which they can be repeated.
    known: Vec<(SubmitRequest, Name)>,
}

impl Submitter {
    pub fn new(context: Context, number: usize, rng: fastrand::Rng) -> Self {
        Self { context, number, rng, made: 0, known: Vec::new() }
    }

    /// Submits until there is to be no more.
    pub async fn run(mut self) {
        while !self.context.enough.is_cancelled() {
            match self.rng.u32(..100) {
                0..40 => self.submit_with_key().await,
                40..60 => self.submit_without_key().await,
                60..75 => self.submit_batch().await,
                75..85 => self.repeat().await,
                85..92 => self.reuse_key().await,
                _ => self.retry().await,
            }
            let pause = PAUSE.mul_f64(self.rng.f64() * 2.0);
            let _ = tokio::time::timeout(pause, self.context.enough.cancelled()).await;
        }
    }

    /// With the same key until there is an answer; often by two at once.
    async fn submit_with_key(&mut self) {
        let request = self.request(true);
        let both = if self.rng.u32(..4) == 0 { 2 } else { 1 };
        let calls = (0..both).map(|_| submit_until_answered(&self.context, &request));
        let answers = futures_util::future::join_all(calls).await;
        for operation in answers.into_iter().flatten() {
            self.remember(&request, operation);
        }
    }

    /// Without a key nothing is tried again: whether it was taken is never known without an answer.
    async fn submit_without_key(&mut self) {
        let request = self.request(false);
        let asked = self.context.recorder.now();
        let answer = self.context.operations().submit(request.clone()).await;
        if let Ok(answer) = answer {
            let operation = answer.into_inner();
            self.context.recorder.submitted(&text(&request.input), None, asked, &operation);
            self.followed(&operation);
        }
    }

    async fn submit_batch(&mut self) {
        let mut requests: Vec<SubmitRequest> =
            (0..self.rng.usize(2..12)).map(|_| self.request(true)).collect();
        if self.rng.bool() {
            // One key twice in one batch.
            let twice = requests[0].clone();
            requests.push(twice);
        }
        let answers = loop {
            let asked = self.context.recorder.now();
            match self.context.client.submit_batch(requests.clone()).await {
                Ok(answers) => break answers.into_iter().map(move |answer| (asked, answer)),
                Err(error) if again(&self.context, &error).await => {}
                Err(_) => return,
            }
        };
        for (request, (asked, answer)) in requests.iter().zip(answers) {
            let operation = match answer {
                Ok(operation) => operation,
                Err(error) if error.is_transient() => continue,
                Err(error) => {
                    self.context.recorder.odd("", format!("{request:?} was refused: {error}"));
                    continue;
                }
            };
            let key = Some(request.idempotency_key.as_str());
            self.context.recorder.submitted(&text(&request.input), key, asked, &operation);
            self.remember(request, operation);
        }
    }

    /// Something that was acknowledged before, maybe before a crash.
    async fn repeat(&mut self) {
        let Some((request, _)) = self.rng.choice(&self.known).cloned() else { return };
        submit_until_answered(&self.context, &request).await;
    }

    /// Another content under a key that is taken.
    async fn reuse_key(&mut self) {
        let Some((request, name)) = self.rng.choice(&self.known).cloned() else { return };
        let other = SubmitRequest {
            input: Some(crate::load::payload(format!("not {}", text(&request.input)))),
            ..request
        };
        let asked = self.context.recorder.now();
        match self.context.client.submit(other.clone()).await {
            Err(error) if error.reason() == "IDEMPOTENCY_KEY_REUSED" => {
                let names_it = error.metadata().get("operation") == Some(&name);
                if error.code() != Code::AlreadyExists || !names_it {
                    self.context.recorder.odd(&name, format!("its key is taken: {error:?}"));
                }
            }
            // The checker finds one key with two contents.
            Ok(operation) => {
                let key = Some(other.idempotency_key.as_str());
                self.context.recorder.submitted(&text(&other.input), key, asked, &operation);
            }
            Err(error) => drop(again(&self.context, &error).await),
        }
    }

    /// A done operation's input again, under a key.
    async fn retry(&mut self) {
        let Some((request, name)) = self.rng.choice(&self.known).cloned() else { return };
        let key = self.next_key();
        let retry = RetryOperationRequest { name, idempotency_key: key.clone() };
        loop {
            let asked = self.context.recorder.now();
            match self.context.client.retry(retry.clone()).await {
                Ok(operation) => {
                    let content = text(&request.input);
                    self.context.recorder.submitted(&content, Some(&key), asked, &operation);
                    return;
                }
                Err(error) if again(&self.context, &error).await => {}
                Err(error) => {
                    if error.code() == Code::NotFound {
                        self.context.recorder.missing(&retry.name);
                    }
                    return;
                }
            }
        }
    }

    fn remember(&mut self, request: &SubmitRequest, operation: Operation) {
        self.followed(&operation);
        if self.known.len() == REMEMBERED {
            self.known.swap_remove(self.rng.usize(..REMEMBERED));
        }
        self.known.push((request.clone(), operation.name));
    }

    /// Many are watched; those without a key may be deleted, watched or not.
    fn followed(&mut self, operation: &Operation) {
        if self.rng.u32(..100) < 60 {
            self.context.watch(operation.name.clone(), self.rng.fork());
        }
        if operation.idempotency_key.is_empty() {
            self.context.recorder.may_be_deleted(&operation.name);
        }
    }

    fn next_key(&mut self) -> String {
        self.made += 1;
        format!("key-{}-{}", self.number, self.made)
    }

    fn request(&mut self, with_key: bool) -> SubmitRequest {
        let key = self.next_key();
        let rng = &mut self.rng;
        let settings = Settings {
            priority: rng.i32(0..3),
            // Long attempts are cut off by some, short ones by nobody.
            attempt_timeout: (rng.u32(..10) == 0).then(|| duration(Duration::from_millis(150))),
            deadline: (rng.u32(..20) == 0).then(|| duration(Duration::from_secs(4))),
            queue_timeout: (rng.u32(..20) == 0).then(|| duration(Duration::from_secs(2))),
            retry_policy: Some(RetryPolicy {
                max_attempts: rng.i32(2..8),
                initial_backoff: Some(duration(Duration::from_millis(rng.u64(1..50)))),
                max_backoff: Some(duration(Duration::from_millis(200))),
                ..RetryPolicy::default()
            }),
            cancel_grace: Some(duration(Duration::from_millis(300))),
            ..Settings::default()
        };
        SubmitRequest {
            kind: rng.choice(KINDS).unwrap_or(KINDS[0]).to_owned(),
            input: Some(crate::load::payload(format!("content of {key}"))),
            settings: Some(settings),
            idempotency_key: if with_key { key } else { String::new() },
            ..SubmitRequest::default()
        }
    }
}

/// Submits under the request's key until the service answers or there is to be no more.
async fn submit_until_answered(context: &Context, request: &SubmitRequest) -> Option<Operation> {
    loop {
        let asked = context.recorder.now();
        match context.client.submit(request.clone()).await {
            Ok(operation) => {
                let key = Some(request.idempotency_key.as_str());
                context.recorder.submitted(&text(&request.input), key, asked, &operation);
                return Some(operation);
            }
            Err(error) if again(context, &error).await => {}
            Err(_) => return None,
        }
    }
}

/// Whether the same call is to be made again, after a moment. Errors other than those of a service
/// that is not there, or of what cannot be tried again yet, are noted.
async fn again(context: &Context, error: &ClientError) -> bool {
    let expected = error.is_transient()
        || error.code() == Code::NotFound
        || error.reason() == "OPERATION_NOT_DONE";
    if !expected {
        context.recorder.odd("", format!("a sound call was refused: {error}"));
    }
    if !error.is_transient() || context.over.is_cancelled() {
        return false;
    }
    let _ = tokio::time::timeout(PAUSE, context.over.cancelled()).await;
    true
}
