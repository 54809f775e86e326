//! The rules: what an operation is and how its state may change.
//!
//! No I/O, no clock, no randomness, no async, and no import from the rest of this crate: `now`
//! and chance are arguments. [`transition::decide`] is the only place where a state is assigned.
//!
//! ```text
//!             submit
//!               │
//!               ▼          acquire               complete
//!    ┌──────► QUEUED ───────────────► RUNNING ─────────► SUCCEEDED | PARTIALLY_SUCCEEDED
//!    │          │                     │  │  │
//!    │  retry,  │ cancel              │  │  └─ fail (final), attempts used up, deadline ──► FAILED
//!    │  lost    ├──► CANCELLED        │  │
//!    │  lease   │                     │  └──── cancel ──► CANCELLING ──► CANCELLED
//!    └──────────┼─────────────────────┘                       └─ (finished first) ──► its outcome
//!               └─ queue timeout, deadline ──► FAILED
//! ```
//!
//! Invariants, kept by `decide` and proved by its tests:
//!
//! - Every change raises the revision by exactly one; a terminal state never changes.
//! - The attempt number rises with every lease and never falls: it is the fencing token. A report of any other attempt
//!   changes nothing, and only the report that ended an attempt is acknowledged again.
//! - A terminal operation has exactly one outcome and a time at which it is purged.
//!
//! Read next: [`state`] for the data, [`transition`] for the rules.

pub mod batch;
pub mod callback;
pub(crate) mod closed_set;
pub mod command;
pub mod deadlines;
mod digest;
pub mod error;
pub mod event;
pub mod filter;
pub mod http;
pub mod id;
pub mod limits;
pub mod log;
pub mod mark;
pub mod new;
mod outline;
pub mod payload;
pub mod query;
pub mod report;
pub mod retry;
mod role;
#[cfg(test)]
pub(crate) mod sample;
pub mod scope;
pub mod secret;
pub mod settings;
mod size;
pub mod state;
pub mod time;
pub mod trace;
pub mod transition;
pub mod waiting;

pub use batch::{BatchRule, ChildCounts};
pub use callback::{CallbackUrl, Destinations};
pub use command::{Command, Decision, Rejection};
pub use error::{ErrorSource, OperationError};
pub use event::{Event, EventType};
pub use http::{HttpEnvelope, HttpHeader, InvalidEnvelope};
pub use id::{
    Attempt, IdempotencyKey, Kind, ObjectId, OperationId, RequestId, Revision, SessionId, TenantId,
    WorkerId,
};
pub use mark::Owner;
pub use new::NewOperation;
pub use payload::{Payload, PayloadForm, PayloadInfo, StoredObject};
pub use report::{RecordedReport, ReportDigest, Reporter};
pub use retry::RetryPolicy;
pub use role::{Role, Roles};
pub use scope::Scope;
pub use settings::{Range, Setting, Settings};
pub use state::{Lease, Life, Operation, Outcome, Progress, State, StateName, Submission};
pub use time::Timestamp;
pub use trace::TraceContext;
pub use transition::decide;
pub use waiting::{WaitReason, Waiting};
