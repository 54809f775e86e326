//! A client that looks at operations, cancels some and deletes some.

use longrun::client::ClientError;
use longrun::proto::v1::{Operation, OperationView};
use tonic::Code;

use crate::load::{Context, PAUSE};

/// One such client.
pub struct Meddler {
    context: Context,
    rng: fastrand::Rng,
}

impl Meddler {
    pub fn new(context: Context, rng: fastrand::Rng) -> Self {
        Self { context, rng }
    }

    /// Meddles until there is to be no more.
    pub async fn run(mut self) {
        while !self.context.enough.is_cancelled() {
            match self.rng.u32(..10) {
                0..6 => self.get().await,
                6..8 => self.cancel().await,
                _ => self.delete().await,
            }
            let pause = PAUSE.mul_f64(self.rng.f64() * 2.0);
            let _ = tokio::time::timeout(pause, self.context.enough.cancelled()).await;
        }
    }

    async fn get(&mut self) {
        let Some(name) = self.context.recorder.any_name(&mut self.rng) else { return };
        let asked = self.context.recorder.now();
        let answer = self.context.client.get(&name, OperationView::Basic).await;
        self.note(&name, asked, answer);
    }

    async fn cancel(&mut self) {
        let Some(name) = self.context.recorder.any_name(&mut self.rng) else { return };
        let asked = self.context.recorder.now();
        let answer = self.context.client.cancel(&name, "meddling").await;
        self.note(&name, asked, answer);
    }

    async fn delete(&mut self) {
        let Some(name) = self.context.recorder.take_deletable() else { return };
        // From here on it may be gone, also if the answer is lost: NOT_FOUND comes after that.
        match self.context.client.delete(&name).await {
            Ok(()) => self.context.recorder.deleted(&name),
            Err(error) if error.code() == Code::NotFound => self.context.recorder.deleted(&name),
            Err(error) if error.reason() == "OPERATION_NOT_DONE" => {}
            Err(error) => self.note_error(&name, &error),
        }
    }

    fn note(&self, name: &str, asked: u64, answer: Result<Operation, ClientError>) {
        match answer {
            Ok(operation) => self.context.recorder.read(asked, &operation),
            Err(error) => self.note_error(name, &error),
        }
    }

    fn note_error(&self, name: &str, error: &ClientError) {
        if error.code() == Code::NotFound {
            self.context.recorder.missing(name);
        } else if !error.is_transient() {
            self.context.recorder.odd(name, format!("a sound call was refused: {error}"));
        }
    }
}
