//! A client: submits with keys and without, alone, several at once and as children, repeats itself, cancels, deletes,
//! reads, lists, waits.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use longrun::engine::Clock as _;
use longrun::operation::{
    IdempotencyKey, Kind, NewOperation, OperationId, Payload, PayloadForm, RetryPolicy, Settings,
    Timestamp,
};
use longrun::service::{ListParameters, OperationName, Reason, View, Violations};

use crate::watcher;
use crate::world::{CallError, World};

pub mod batches;

pub const KINDS: [&str; 2] = ["sim.a", "sim.b"];

pub struct Submitter {
    world: Rc<World>,
    number: usize,
    rng: fastrand::Rng,
    made: u64,
    /// What can be repeated under its key.
    known: Vec<NewOperation>,
}

impl Submitter {
    pub fn new(world: Rc<World>, number: usize) -> Self {
        let rng = world.fork();
        Self { world, number, rng, made: 0, known: Vec::new() }
    }

    /// Goes on until there is to be no more.
    pub async fn run(mut self) {
        while !self.world.enough.get() {
            match self.rng.u32(..100) {
                0..30 => {
                    let new = self.new_operation(true);
                    self.submit(new).await;
                }
                30..42 => {
                    let new = self.new_operation(false);
                    self.submit(new).await;
                }
                42..50 => self.submit_batch().await,
                50..58 => self.repeat().await,
                58..62 => self.reuse_key().await,
                62..78 => self.cancel().await,
                78..84 => self.delete().await,
                84..90 => self.read().await,
                90..93 => self.list().await,
                // Where there is little room, batches take it from the children that they wait for.
                93..95 if self.world.has_room() => self.submit_with_children().await,
                95 if self.world.has_room() => self.retry_batch().await,
                _ => self.wait().await,
            }
            self.world.pause(&mut self.rng, 12).await;
        }
    }

    /// Under a key until there is an answer; without one only once, because nobody could tell whether
    /// it was taken.
    async fn submit(&mut self, new: NewOperation) {
        loop {
            let asked = self.world.record.now();
            let (caller, item) = (World::caller(), new.clone());
            let answer =
                self.world
                    .call(&mut self.rng, move |service| async move {
                        service.submit(&caller, item).await
                    })
                    .await;
            match answer {
                Ok(submitted) => {
                    self.acknowledged(&new, asked, &submitted.document.operation);
                    return;
                }
                Err(error) if error.is_transient() => {
                    if new.idempotency_key.is_none() || self.world.enough.get() {
                        return;
                    }
                    self.world.pause(&mut self.rng, 20).await;
                }
                Err(error) => {
                    let oddity = format!("a sound submission was refused: {error:?}");
                    return self.world.record.odd("", oddity);
                }
            }
        }
    }

    async fn submit_batch(&mut self) {
        let mut items: Vec<NewOperation> =
            (0..self.rng.usize(1..4)).map(|_| self.new_operation(true)).collect();
        // One key twice in one batch.
        items.push(items[0].clone());
        for _ in 0..5 {
            let asked = self.world.record.now();
            let (caller, batch) = (World::caller(), items.iter().cloned().map(Ok).collect());
            let answer = self
                .world
                .call(&mut self.rng, move |service| async move {
                    service.submit_batch(&caller, batch).await
                })
                .await;
            match answer {
                Ok(answers) => {
                    for (new, answer) in items.iter().zip(answers) {
                        match answer.map_err(CallError::Refused) {
                            Ok(stored) => {
                                self.acknowledged(new, asked, &stored.document.operation);
                            }
                            Err(error) if error.is_transient() => {}
                            Err(error) => {
                                let oddity = format!("a sound item was refused: {error:?}");
                                self.world.record.odd("", oddity);
                            }
                        }
                    }
                    return;
                }
                Err(error) if error.is_transient() => self.world.pause(&mut self.rng, 20).await,
                Err(error) => {
                    let oddity = format!("a sound batch was refused: {error:?}");
                    return self.world.record.odd("", oddity);
                }
            }
        }
    }

    fn acknowledged(
        &mut self,
        new: &NewOperation,
        asked: u64,
        operation: &longrun::operation::Operation,
    ) {
        self.shown(new, asked, operation);
        if new.idempotency_key.is_some() {
            self.known.push(new.clone());
        }
    }

    /// The same of a submission that is not repeated by itself.
    fn shown(&mut self, new: &NewOperation, asked: u64, operation: &longrun::operation::Operation) {
        let key = new.idempotency_key.as_ref().map(IdempotencyKey::as_str);
        let is_new = !self.world.record.seen().contains(&operation.id());
        self.world.record.submitted(&content(new), key, asked, operation);
        if is_new && self.rng.u32(..10) < 7 && self.world.record.may_listen(operation.id()) {
            let watch = watcher::watch(Rc::clone(&self.world), operation.id(), self.rng.fork());
            tokio::task::spawn_local(watch);
        }
    }

    /// Something that was acknowledged before, maybe before a crash.
    async fn repeat(&mut self) {
        if let Some(new) = self.rng.choice(&self.known).cloned() {
            self.submit(new).await;
        }
    }

    /// Another content under a key that is taken.
    async fn reuse_key(&mut self) {
        let Some(new) = self.rng.choice(&self.known).cloned() else { return };
        let other = NewOperation { input: Some(text(&format!("not {}", content(&new)))), ..new };
        let (caller, item, asked) = (World::caller(), other.clone(), self.world.record.now());
        let answer = self
            .world
            .call(&mut self.rng, move |service| async move { service.submit(&caller, item).await })
            .await;
        match answer {
            // The checker finds one key with two contents.
            Ok(stored) => self.acknowledged(&other, asked, &stored.document.operation),
            Err(error) if error.is(Reason::IdempotencyKeyReused) || error.is_transient() => {}
            Err(error) => self.world.record.odd("", format!("a key was used again: {error:?}")),
        }
    }

    async fn cancel(&mut self) {
        if let Some(id) = self.world.record.any(&mut self.rng) {
            self.cancel_operation(id).await;
        }
    }

    async fn cancel_operation(&mut self, id: OperationId) {
        let (caller, asked) = (World::caller(), self.world.record.now());
        let answer = self
            .world
            .call(&mut self.rng, move |service| async move {
                service.cancel(&caller, &named(id), "enough of it".to_owned()).await
            })
            .await;
        match answer {
            Ok(document) => self.world.record.read(asked, &document.operation),
            Err(error) => self.refused(id, &error),
        }
    }

    async fn delete(&mut self) {
        let Some(id) = self.world.record.take_deletable(&mut self.rng) else { return };
        let caller = World::caller();
        let answer =
            self.world
                .call(&mut self.rng, move |service| async move {
                    service.delete(&caller, &named(id)).await
                })
                .await;
        match answer {
            Ok(()) => self.world.record.deleted(id),
            Err(error) => self.refused(id, &error),
        }
    }

    async fn read(&mut self) {
        let Some(id) = self.world.record.any(&mut self.rng) else { return };
        let (caller, asked) = (World::caller(), self.world.record.now());
        let answer = self
            .world
            .call(&mut self.rng, move |service| async move {
                service.get(&caller, &named(id), View::Full).await
            })
            .await;
        match answer {
            Ok(document) => self.world.record.read(asked, &document.operation),
            Err(error) => self.refused(id, &error),
        }
    }

    async fn list(&mut self) {
        let (caller, asked) = (World::caller(), self.world.record.now());
        let answer = self
            .world
            .call(&mut self.rng, move |service| async move {
                let parameters = ListParameters { page_size: 50, ..ListParameters::default() };
                let mut found = Violations::default();
                let asked = parameters.read(&caller, &mut found);
                let asked = found.settle(asked)?;
                service.list(&caller, asked, View::Basic, longrun::wire::size::operation).await
            })
            .await;
        match answer {
            Ok(page) => {
                for document in page.entries {
                    self.world.record.read(asked, &document.operation);
                }
            }
            Err(error) if error.is_transient() => {}
            Err(error) => self.world.record.odd("", format!("a list was refused: {error:?}")),
        }
    }

    async fn wait(&mut self) {
        let Some(id) = self.world.record.any(&mut self.rng) else { return };
        if !self.world.record.may_listen(id) {
            return;
        }
        let (caller, asked) = (World::caller(), self.world.record.now());
        let timeout = Duration::from_secs(self.rng.u64(1..10));
        let answer = self
            .world
            .call(&mut self.rng, move |service| async move {
                service.wait(&caller, &named(id), timeout, View::Result).await
            })
            .await;
        match answer {
            Ok(document) => self.world.record.read(asked, &document.operation),
            Err(error) => self.refused(id, &error),
        }
    }

    fn refused(&self, id: OperationId, error: &CallError) {
        if error.is(Reason::OperationNotFound) || error.is(Reason::OperationExpired) {
            self.world.record.missing(id);
        } else if !error.is_transient() && !error.is(Reason::OperationNotDone) {
            let oddity = format!("a sound call was refused: {error:?}");
            self.world.record.odd(&self.world.record.name(id), oddity);
        }
    }

    fn new_operation(&mut self, with_key: bool) -> NewOperation {
        self.made += 1;
        let key = format!("key-{}-{}", self.number, self.made);
        let rng = &mut self.rng;
        let seldom = |rng: &mut fastrand::Rng, from, to| {
            let limit = Duration::from_millis(rng.u64(from..to));
            (rng.u32(..8) == 0).then_some(limit)
        };
        let mut settings = Settings {
            priority: rng.u8(..3),
            queue_timeout: seldom(rng, 500, 8_000),
            attempt_timeout: seldom(rng, 500, 8_000),
            deadline: seldom(rng, 1_000, 30_000),
            retry_policy: RetryPolicy {
                max_attempts: rng.u32(1..6),
                initial_backoff: Duration::from_millis(rng.u64(10..2_000)),
                max_backoff: Duration::from_secs(4),
                ..RetryPolicy::default()
            },
            cancel_grace: Duration::from_millis(rng.u64(100..4_000)),
            ..Settings::default()
        };
        if !with_key && rng.bool() {
            settings.retention = Duration::from_secs(rng.u64(1..60));
        }
        let later = rng.u32(..10) == 0;
        let start_at: Option<Timestamp> =
            later.then(|| self.world.clock.now().after(Duration::from_millis(rng.u64(100..5_000))));
        let kind = Kind::parse(rng.choice(KINDS).unwrap_or(KINDS[0])).unwrap();
        NewOperation {
            settings,
            start_at,
            input: Some(text(&format!("content of {key}"))),
            idempotency_key: with_key.then(|| IdempotencyKey::parse(&key).unwrap()),
            ..NewOperation::of(kind)
        }
    }
}

pub fn named(id: OperationId) -> OperationName {
    OperationName { tenant: None, id }
}

pub fn text(text: &str) -> Payload {
    Payload::new(PayloadForm::Text, "", Bytes::copy_from_slice(text.as_bytes()))
}

fn content(new: &NewOperation) -> String {
    new.input.as_ref().map(|input| read_text(&input.data)).unwrap_or_default()
}

pub fn read_text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
