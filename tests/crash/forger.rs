//! A worker without work that reports on the attempts of others: earlier ones, current ones, and ones
//! that are yet to come.

use longrun::proto::v1::Hello;

use crate::history::ReportKind;
use crate::load::{Context, PAUSE};
use crate::work_stream::{Sent, WorkStream};

/// One forger.
pub struct Forger {
    context: Context,
    number: usize,
    rng: fastrand::Rng,
    made: u64,
}

impl Forger {
    pub fn new(context: Context, number: usize, rng: fastrand::Rng) -> Self {
        Self { context, number, rng, made: 0 }
    }

    /// Forges until all is over.
    pub async fn run(mut self) {
        let over = self.context.over.clone();
        over.run_until_cancelled(async {
            loop {
                let hello = Hello {
                    worker_id: format!("forger-{}", self.number),
                    kinds: vec!["crash.none".to_owned()],
                    max_in_flight: 1,
                    ..Hello::default()
                };
                if let Ok(stream) = WorkStream::open(&self.context, hello).await {
                    self.forge(stream).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }

    async fn forge(&mut self, mut stream: WorkStream) {
        let mut turns = tokio::time::interval(PAUSE);
        loop {
            tokio::select! {
                heard = stream.next() => if !matches!(heard, Ok(Some(_))) { return },
                _ = turns.tick() => {
                    // One at a time, so that every answer is of the moment.
                    if stream.unanswered().next().is_none() {
                        self.forge_one(&mut stream);
                    }
                }
            }
        }
    }

    fn forge_one(&mut self, stream: &mut WorkStream) {
        let Some((name, known)) = self.context.recorder.any_attempt(&mut self.rng) else { return };
        let attempt = match self.rng.u32(..4) {
            0 if known > 1 => known - 1,
            1 => known + 1,
            _ => known,
        };
        let kind = match self.rng.u32(..5) {
            0 => ReportKind::Release,
            1 => ReportKind::FailForRetry,
            2 => ReportKind::FailForGood,
            3 => ReportKind::Log,
            _ => ReportKind::Complete,
        };
        self.made += 1;
        let token = format!("{name}#{attempt}#{kind:?}#forger-{}.{}", self.number, self.made);
        let index = self.context.recorder.report(&name, attempt, kind, &token, true);
        stream.report(Sent { index, name, attempt, kind, token });
    }
}
