//! Results that a worker sends in chunks before it completes an attempt.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Intake, Reason, Service, ServiceError, Violations, WorkerSession};
use crate::operation::{Attempt, OperationId};

/// The maximum number of unfinished results on one stream.
const MAX_UPLOADS: usize = 16;

/// The unfinished results on one worker's stream; dropped with it.
#[derive(Debug)]
pub struct ResultUploads {
    service: Service,
    session: WorkerSession,
    /// The received chunks, or why they were refused: chunks are not acknowledged, so the completion reports it.
    uploads: HashMap<(OperationId, Attempt), Result<Intake, ServiceError>>,
}

impl ResultUploads {
    /// No uploads yet, on a stream of `session`.
    pub fn new(service: Service, session: WorkerSession) -> Self {
        Self { service, session, uploads: HashMap::new() }
    }

    /// Adds the next bytes of a result. Offset 0 begins it, or begins it anew.
    pub async fn chunk(&mut self, id: OperationId, attempt: Attempt, offset: u64, data: Bytes) {
        let before = self.uploads.remove(&(id, attempt));
        let upload = match before {
            Some(Err(error)) if offset > 0 => Err(error),
            Some(Ok(upload)) if offset > 0 => add(&self.service, upload, offset, data).await,
            before => {
                if let Some(Ok(upload)) = before {
                    upload.abort().await;
                }
                let open = self.uploads.values().filter(|upload| upload.is_ok()).count();
                let (service, session) = (&self.service, &self.session);
                match begin(service, session, open, (id, attempt)).await {
                    Ok(upload) => add(service, upload, offset, data).await,
                    Err(error) => Err(error),
                }
            }
        };
        // Refused uploads keep their place too, so that Complete can say which upload was refused.
        if self.uploads.len() < 2 * MAX_UPLOADS {
            self.uploads.insert((id, attempt), upload);
        }
    }

    /// The result of a completed attempt, which must have `size` bytes; `None` if `size` is 0. If the report is wrong,
    /// the chunks stay here, so that the worker can correct the report without sending the result again.
    pub fn take(
        &mut self,
        id: OperationId,
        attempt: Attempt,
        size: u64,
        found: &mut Violations,
    ) -> Option<Intake> {
        match self.uploads.get(&(id, attempt)) {
            Some(Ok(upload)) if upload.size_bytes() != size => {
                let came = upload.size_bytes();
                let rule = format!("must be {came}, the size of the chunks that were sent");
                found.note("complete.chunked_bytes", rule);
                None
            }
            Some(Ok(_)) if !found.is_empty() => None,
            _ if size == 0 => None,
            _ => {
                // The chunks may have been sent on another stream.
                let away = "the server does not have the chunks of the result: send them again";
                let away = Err(ServiceError::new(Reason::Unavailable, away));
                found.take(self.uploads.remove(&(id, attempt)).unwrap_or(away))
            }
        }
    }

    /// Drops the chunks of an attempt that is over.
    pub async fn forget(&mut self, id: OperationId, attempt: Attempt) {
        if let Some(Ok(upload)) = self.uploads.remove(&(id, attempt)) {
            upload.abort().await;
        }
    }
}

async fn begin(
    service: &Service,
    session: &WorkerSession,
    open: usize,
    (id, attempt): (OperationId, Attempt),
) -> Result<Intake, ServiceError> {
    if open >= MAX_UPLOADS {
        let message =
            format!("at most {MAX_UPLOADS} results of a stream may be incomplete at once");
        return Err(ServiceError::new(Reason::ResourceExhausted, message));
    }
    session.check_may_report(id, attempt).await?;
    Ok(service.intake(usize::MAX))
}

async fn add(
    service: &Service,
    mut upload: Intake,
    offset: u64,
    data: Bytes,
) -> Result<Intake, ServiceError> {
    let expected = upload.size_bytes();
    if offset != expected {
        upload.abort().await;
        let rule = format!("must be {expected}, the end of the chunks that were sent before, or 0");
        return Err(ServiceError::invalid_field("result_chunk.offset_bytes", rule));
    }
    // An object store that hangs must not delay the worker's heartbeats.
    let patience = service.limits().worker_heartbeat_interval();
    match tokio::time::timeout(patience, upload.write(data)).await {
        Ok(Ok(())) => Ok(upload),
        Ok(Err(error)) => {
            upload.abort().await;
            Err(error)
        }
        Err(_elapsed) => {
            Err(ServiceError::new(Reason::Unavailable, "the object store is too slow"))
        }
    }
}
