//! Refused calls, read strictly: whatever the reason, the details must be as promised.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

/// A refused call.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub code: Code,
    pub message: String,
    pub reason: String,
    pub metadata: HashMap<String, String>,
    /// Fields with the rules that they break, in the order given.
    pub violations: Vec<(String, String)>,
    pub retry_after: Option<Duration>,
    pub quotas: usize,
}

impl Refused {
    /// Reads a status. Fails unless it has exactly one `ErrorInfo`, of this service, and a message.
    #[track_caller]
    pub fn read(status: &Status) -> Self {
        let mut refused = Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: String::new(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_after: None,
            quotas: 0,
        };
        let mut infos = 0;
        for detail in status.get_error_details_vec() {
            match detail {
                ErrorDetail::ErrorInfo(info) => {
                    infos += 1;
                    assert_eq!(info.domain, "longrun", "{status:?}");
                    refused.reason = info.reason;
                    refused.metadata = info.metadata;
                }
                ErrorDetail::BadRequest(bad) => {
                    let violations = bad.field_violations.into_iter();
                    refused.violations.extend(violations.map(|v| (v.field, v.description)));
                }
                ErrorDetail::RetryInfo(retry) => refused.retry_after = retry.retry_delay,
                ErrorDetail::QuotaFailure(quota) => refused.quotas += quota.violations.len(),
                other => panic!("unexpected detail {other:?} in {status:?}"),
            }
        }
        assert_eq!(infos, 1, "exactly one ErrorInfo in {status:?}");
        assert!(!refused.message.is_empty(), "{status:?}");
        refused
    }

    /// The fields that break rules.
    pub fn fields(&self) -> Vec<&str> {
        self.violations.iter().map(|(field, _)| field.as_str()).collect()
    }

    /// Fails unless it is the violation of one field.
    #[track_caller]
    pub fn is_about(&self, field: &str) -> &Self {
        assert_eq!((self.code, self.fields()), (Code::InvalidArgument, vec![field]), "{self:?}");
        assert!(self.message.contains(field), "{self:?}");
        self
    }

    /// Fails unless code and reason are these.
    #[track_caller]
    pub fn is(&self, code: Code, reason: &str) -> &Self {
        assert_eq!((self.code, self.reason.as_str()), (code, reason), "{self:?}");
        self
    }

    /// Fails unless there is no such operation.
    #[track_caller]
    pub fn is_not_found(&self) -> &Self {
        self.is(Code::NotFound, "OPERATION_NOT_FOUND")
    }
}

/// Answers that must be refusals.
pub trait Refusal {
    /// Why it was refused; fails if it was not.
    #[track_caller]
    fn refused(self) -> Refused;
}

impl<T: Debug> Refusal for Result<Response<T>, Status> {
    #[track_caller]
    fn refused(self) -> Refused {
        Refused::read(&self.expect_err("must be refused"))
    }
}
