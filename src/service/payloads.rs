//! Payloads on their way in and out: small ones in rows, large ones in objects. No other module knows the difference.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use tokio_stream::StreamExt as _;

use super::operations::{is_held, named};
use super::{Action, Caller, Document, OperationName, Reason, Service, ServiceError};
use crate::engine::EngineError;
use crate::objects::{ObjectError, Objects, Upload};
use crate::operation::{OperationId, Payload, PayloadInfo, SessionId, StoredObject};
use crate::store::PayloadRole;

/// Contents that arrive in pieces: in memory up to the threshold, then in an object.
#[derive(Debug)]
pub struct Intake {
    objects: Objects,
    threshold: usize,
    limit: usize,
    buffered: BytesMut,
    upload: Option<Upload>,
}

impl Intake {
    /// The number of bytes received.
    pub fn size_bytes(&self) -> u64 {
        self.upload.as_ref().map_or(self.buffered.len() as u64, Upload::size_bytes)
    }

    /// Takes the next piece. Waits while the object store is slower than the client.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), ServiceError> {
        if self.size_bytes() + piece.len() as u64 > self.limit as u64 {
            let limit = self.limit;
            let message = format!("the contents must be at most {limit} bytes");
            return Err(ServiceError::new(Reason::PayloadTooLarge, message));
        }
        if let Some(upload) = &mut self.upload {
            return Ok(upload.write(piece).await?);
        }
        if self.buffered.len() + piece.len() <= self.threshold {
            self.buffered.extend_from_slice(&piece);
            return Ok(());
        }
        let mut upload = self.objects.upload();
        upload.write(std::mem::take(&mut self.buffered).freeze()).await?;
        upload.write(piece).await?;
        self.upload = Some(upload);
        Ok(())
    }

    /// Finishes the payload; if it is an object, it is durable then.
    pub async fn finish(self, content_type: &str) -> Result<Payload, ServiceError> {
        match self.upload {
            None => Ok(Payload::sniffed(content_type, self.buffered.freeze())),
            Some(upload) => {
                let size = upload.size_bytes();
                Ok(Payload::in_object(content_type, upload.finish().await?, size))
            }
        }
    }

    /// Drops what was received.
    pub async fn abort(self) {
        if let Some(upload) = self.upload {
            upload.abort().await;
        }
    }
}

/// A payload's contents, for reading.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The payload's description.
    pub info: PayloadInfo,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Row(Bytes),
    Object(Objects, StoredObject),
}

/// Contents in pieces.
pub type ContentStream = BoxStream<'static, Result<Bytes, ServiceError>>;

impl Contents {
    /// The number of bytes.
    pub fn size_bytes(&self) -> u64 {
        match &self.source {
            Source::Row(data) => data.len() as u64,
            Source::Object(..) => self.info.size_bytes,
        }
    }

    /// A part of the contents; a range beyond their end is cut. The stream of a damaged object ends with
    /// [`Reason::DataLoss`] before the last byte: found by its length, or by its digest if the whole is read.
    pub async fn read(&self, part: Range<u64>) -> Result<ContentStream, ServiceError> {
        let end = part.end.min(self.size_bytes());
        let part = part.start.min(end)..end;
        match &self.source {
            Source::Row(data) => {
                let at = |position| usize::try_from(position).unwrap_or(data.len());
                let part = data.slice(at(part.start)..at(part.end));
                Ok(Box::pin(stream::once(async move { Ok(part) })))
            }
            Source::Object(objects, object) => {
                let size = self.info.size_bytes;
                let chunks = match part == (0..size) {
                    true => objects.read_whole(*object, size).await?,
                    false => objects.read_part(object.id, size, part).await?,
                };
                Ok(Box::pin(chunks.map(|chunk| Ok(chunk?))))
            }
        }
    }
}

impl Service {
    /// Receives contents of at most `limit` bytes, and no more than the service's own limit.
    pub fn intake(&self, limit: usize) -> Intake {
        Intake {
            objects: self.objects.clone(),
            threshold: self.limits.object_threshold_bytes,
            limit: limit.min(self.limits.max_payload_bytes),
            buffered: BytesMut::new(),
            upload: None,
        }
    }

    /// Stores a large payload as an object.
    pub(super) async fn put_away(&self, payload: Payload) -> Result<Payload, ServiceError> {
        let is_small = payload.data.len() <= self.limits.object_threshold_bytes;
        if is_small || payload.info.object.is_some() {
            return Ok(payload);
        }
        let Payload { mut info, data } = payload;
        let mut upload = self.objects.upload();
        upload.write(data).await?;
        info.object = Some(upload.finish().await?);
        Ok(Payload { info, data: Bytes::new() })
    }

    /// Copies the contents into a payload of its own.
    pub(super) async fn copy(
        &self,
        id: OperationId,
        role: PayloadRole,
        info: &PayloadInfo,
    ) -> Result<Payload, ServiceError> {
        let mut info = info.clone();
        if let Some(object) = &mut info.object {
            object.id = self.objects.copy(object.id).await?;
            return Ok(Payload { info, data: Bytes::new() });
        }
        match self.engine.payload(id, role).await? {
            Some(data) => Ok(Payload { info, data }),
            // It was deleted after it was read. A copy without its contents would be another submission.
            None => Err(named(EngineError::NotFound, id)),
        }
    }

    /// Deletes an object that no commit refers to. If that fails, the next sweep finds it.
    pub(super) async fn discard(&self, payload: &PayloadInfo) {
        if let Some(object) = payload.object
            && let Err(error) = self.objects.delete(object.id).await
        {
            tracing::warn!(error = %error, "an object that is not needed stays for the sweep");
        }
    }

    /// The input of an operation, for callers that may read it, or for the session that works on it.
    pub async fn input(
        &self,
        caller: &Caller,
        name: &OperationName,
        session: Option<SessionId>,
    ) -> Result<Contents, ServiceError> {
        let found = self.find_for(caller, name, session).await;
        // A caller without read permission must learn nothing of attempts that it does not hold.
        if !found.as_ref().is_ok_and(|operation| is_held(operation, session)) {
            caller.may(Action::ReadInput)?;
        }
        let operation = found?;
        let info = operation.submission.input.clone();
        let missing = || {
            let name = operation.id().name();
            let message = format!("{name} was submitted without an input");
            ServiceError::new(Reason::InputNotFound, message).with("operation", name)
        };
        let info = info.ok_or_else(missing)?;
        self.contents(operation.id(), PayloadRole::Input, info).await?.ok_or_else(missing)
    }

    /// The result of a done operation.
    pub async fn result(
        &self,
        caller: &Caller,
        name: &OperationName,
    ) -> Result<Contents, ServiceError> {
        caller.may(Action::Read)?;
        let operation = self.find_for(caller, name, None).await?;
        if !operation.is_done() {
            return Err(super::operations::not_done(operation.id()));
        }
        let missing = || {
            let name = operation.id().name();
            let state = operation.state_name();
            let message = format!("{name} is {state} and has no result");
            ServiceError::new(Reason::ResultNotFound, message).with("operation", name)
        };
        let info = operation.result().ok_or_else(missing)?.clone();
        self.contents(operation.id(), PayloadRole::Result, info).await?.ok_or_else(missing)
    }

    /// The document with its result, even if the view omits it for its size, if it has at most `limit` bytes.
    pub async fn with_result(
        &self,
        document: Document,
        limit: usize,
    ) -> Result<Document, ServiceError> {
        let Some(info) = document.operation.result().cloned() else { return Ok(document) };
        let result = match document.result {
            Some(result) => Some(result),
            None => self.whole(document.operation.id(), PayloadRole::Result, info, limit).await?,
        };
        Ok(Document { result, ..document })
    }

    /// The document with its input, likewise.
    pub async fn with_input(
        &self,
        document: Document,
        limit: usize,
    ) -> Result<Document, ServiceError> {
        let Some(info) = document.operation.submission.input.clone() else { return Ok(document) };
        let input = match document.input {
            Some(input) => Some(input),
            None => self.whole(document.operation.id(), PayloadRole::Input, info, limit).await?,
        };
        Ok(Document { input, ..document })
    }

    /// Contents of at most `limit` bytes.
    pub(super) async fn whole(
        &self,
        id: OperationId,
        role: PayloadRole,
        info: PayloadInfo,
        limit: usize,
    ) -> Result<Option<Bytes>, ServiceError> {
        if info.size_bytes > limit as u64 {
            return Ok(None);
        }
        let Some(contents) = self.contents(id, role, info).await? else { return Ok(None) };
        let mut pieces = contents.read(0..contents.size_bytes()).await?;
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(Some(whole.freeze()))
    }

    async fn contents(
        &self,
        id: OperationId,
        role: PayloadRole,
        info: PayloadInfo,
    ) -> Result<Option<Contents>, ServiceError> {
        let source = match info.object {
            Some(object) => Some(Source::Object(self.objects.clone(), object)),
            None => self.engine.payload(id, role).await?.map(Source::Row),
        };
        Ok(source.map(|source| Contents { info, source }))
    }
}

impl From<ObjectError> for ServiceError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Missing(_) => {
                tracing::error!(error = %error, "contents are missing");
                Self::new(Reason::DataLoss, "the contents are missing from the object store")
            }
            ObjectError::Damaged { how, .. } => {
                tracing::error!(error = %error, "contents are damaged");
                Self::new(Reason::DataLoss, format!("the contents are damaged: their object {how}"))
            }
            ObjectError::Nowhere => Self::new(
                Reason::PayloadTooLarge,
                "contents larger than --object-threshold-bytes cannot be stored, because this server was \
                 started without --objects",
            ),
            ObjectError::Unavailable(_) => {
                tracing::warn!(error = %error, "the object store did not answer");
                Self::new(Reason::Unavailable, "the object store is not available")
            }
        }
    }
}
