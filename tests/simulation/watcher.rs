//! Watches one operation to its end, over as many streams as it takes. Writes down everything that
//! comes, as it comes.

use std::rc::Rc;

use longrun::operation::{OperationId, Revision};
use longrun::service::{Reason, View, WatchMessage, WatchOptions};

use crate::history::WatchEnd;
use crate::record::WatchIndex;
use crate::submitter::named;
use crate::world::{CallError, World, hops};

pub async fn watch(world: Rc<World>, id: OperationId, mut rng: fastrand::Rng) {
    let from_snapshot = rng.bool();
    let index = world.record.watch(id, from_snapshot);
    let after = (!from_snapshot).then_some(Revision(0));
    let include_progress = rng.bool();
    let mut watcher = Watcher { world, id, index, after, include_progress, done: false, rng };
    let end = loop {
        match watcher.one_stream().await {
            Ok(()) if watcher.done => break WatchEnd::Finished,
            Err(CallError::Refused(error)) if error.reason != Reason::Unavailable => {
                // Both say that it is gone; which of them is another test's concern.
                let gone = [Reason::OperationNotFound, Reason::OperationExpired];
                let gone = gone.contains(&error.reason);
                let reason = if gone { "OPERATION_NOT_FOUND" } else { error.reason.as_str() };
                break WatchEnd::Refused(reason.to_owned());
            }
            _ => watcher.world.pause(&mut watcher.rng, 20).await,
        }
    };
    watcher
        .world
        .record
        .note(|| format!("a watch of {} ends: {end:?}", watcher.world.record.name(id)));
    watcher.world.record.watch_ended(index, end);
}

struct Watcher {
    world: Rc<World>,
    id: OperationId,
    index: WatchIndex,
    after: Option<Revision>,
    include_progress: bool,
    done: bool,
    rng: fastrand::Rng,
}

impl Watcher {
    async fn one_stream(&mut self) -> Result<(), CallError> {
        let connection = self.world.connect(&mut self.rng).ok_or(CallError::Cut)?;
        let options = WatchOptions {
            after: self.after,
            include_progress: self.include_progress,
            view: View::Basic,
            timeout: None,
        };
        let (caller, id) = (World::caller(), self.id);
        let mut stream = self
            .world
            .call_over(&connection, &mut self.rng, move |service| async move {
                service.watch(&caller, &named(id), options).await
            })
            .await?;
        loop {
            let Some(next) = connection.run(stream.next()).await else {
                return Err(CallError::Cut);
            };
            hops(&mut self.rng, 6).await;
            if self.rng.u32(..15) == 0 {
                // With the message on its way.
                return Err(CallError::Cut);
            }
            match next {
                None => return Ok(()),
                Some(message) => self.take(message.map_err(CallError::Refused)?),
            }
        }
    }

    fn take(&mut self, message: WatchMessage) {
        let record = &self.world.record;
        let operation = match message {
            // Says again that it is done to a watch that resumes behind the end.
            WatchMessage::Snapshot(document)
                if self.done && self.after == Some(document.operation.life.revision) =>
            {
                return;
            }
            WatchMessage::Snapshot(document) => {
                record.watched(self.index, &document.operation, None);
                document.operation
            }
            WatchMessage::Transition(document, event) => {
                record.watched(self.index, &document.operation, Some(event));
                document.operation
            }
            WatchMessage::Progress(_) | WatchMessage::Heartbeat => return,
        };
        self.after = Some(operation.life.revision);
        self.done |= operation.is_done();
    }
}
