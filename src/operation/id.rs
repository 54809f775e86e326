//! Names and numbers that identify things; parsed once and valid from then on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

/// A name that breaks a rule, which continues "must be".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct InvalidName(pub &'static str);

/// An operation's id, a UUIDv7: the ids of one server rise with time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(Uuid);

impl OperationId {
    const RULE: InvalidName = InvalidName("a UUID in lower case with hyphens");

    /// Parses the id of a resource name. Accepts only the canonical form, so that an operation has exactly one name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let canonical = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        let id = canonical.then(|| Uuid::try_parse(text).ok()).flatten();
        id.map(Self).ok_or(Self::RULE)
    }

    /// Wraps a new UUIDv7.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The 16 bytes; their order is that of time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads 16 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The resource name, `operations/{id}`.
    pub fn name(&self) -> String {
        let mut text = Uuid::encode_buffer();
        let id: &str = self.0.as_hyphenated().encode_lower(&mut text);
        ["operations/", id].concat()
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id of a worker's session: a UUID that begins with its time, known only to the server and that worker; or, if a
/// worker without a stream names its request, a digest of that name.
/// The version says whether the worker is a process of its own (7) or not (8): then it runs in the server's process, or
/// it has no stream and the session is for one attempt, whose lease has a duration of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// The maximum duration of an attempt's own lease, in seconds.
    const MOST_SECONDS: u64 = (1 << 24) - 1;

    /// Wraps a new UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// A session's id for a worker in the server's own process.
    pub fn in_process(uuid: Uuid) -> Self {
        Self(uuid::Builder::from_custom_bytes(uuid.into_bytes()).into_uuid())
    }

    /// A session's id for one attempt of a worker without a stream. Its lease lasts `lease` after each renewal, rounded
    /// up to whole seconds. The id has the duration in it, so that a restart or another replica finds it.
    pub fn of_attempt(uuid: Uuid, lease: Duration) -> Self {
        let seconds = lease.as_secs().saturating_add(u64::from(lease.subsec_nanos() > 0));
        let [.., high, middle, low] = seconds.clamp(1, Self::MOST_SECONDS).to_be_bytes();
        let mut bytes = uuid.into_bytes();
        // Ids made of time, and so those of workers in process, do not have the highest bit after the version. The
        // remaining bits keep the order, and are random enough, because such an id is signed when it is shown.
        (bytes[6], bytes[13], bytes[14], bytes[15]) = (0x88, high, middle, low);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Whether the worker is in the server's own process, and so ends with it.
    pub fn is_in_process(&self) -> bool {
        self.0.get_version_num() == 8 && self.attempt_lease().is_none()
    }

    /// How long the lease lasts after each renewal, if the session is for one attempt.
    pub fn attempt_lease(&self) -> Option<Duration> {
        let bytes = self.0.as_bytes();
        let seconds = u32::from_be_bytes([0, bytes[13], bytes[14], bytes[15]]);
        (bytes[6] == 0x88).then(|| Duration::from_secs(seconds.into()))
    }

    /// How long the session's leases last without a sign of life; leases of streams last `of_stream`.
    pub fn lease(&self, of_stream: Duration) -> Duration {
        self.attempt_lease().unwrap_or(of_stream)
    }

    /// Parses the text that the worker got.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The 16 bytes, as stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads 16 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The id of an object in the object store, a UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(Uuid);

impl ObjectId {
    /// Wraps a new UUIDv7.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Parses an object's name.
    pub fn parse(text: &str) -> Option<Self> {
        OperationId::parse(text).ok().map(|OperationId(uuid)| Self(uuid))
    }

    /// The 16 bytes, as stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads 16 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// A validated text that is cheap to clone.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Parses `text` if it keeps the rule.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidName($rule)) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(
    /// The owner of operations. Nothing crosses tenants.
    TenantId,
    "a lower-case letter, then up to 62 lower-case letters, digits or hyphens",
    |text| {
        text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    }
);

impl TenantId {
    /// The tenant of all callers if the server has no credentials.
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

name!(
    /// The kind of an operation's work; workers serve kinds.
    Kind,
    "a letter, then up to 127 letters, digits, '-', '_' or '.'",
    |text| {
        text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    }
);

name!(
    /// A worker's name for itself.
    WorkerId,
    "1 to 255 printable ASCII characters",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
);

name!(
    /// A worker's own name for a request to acquire attempts, so that it can retry the request.
    RequestId,
    "1 to 255 printable ASCII characters",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
);

name!(
    /// The client's own name for a submission, unique within the tenant.
    IdempotencyKey,
    "1 to 255 printable ASCII characters",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
);

/// Whether `key` may be a label's key.
pub fn valid_label_key(key: &str) -> Result<(), InvalidName> {
    let valid = key.len() <= 63
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    valid
        .then_some(())
        .ok_or(InvalidName("a letter, then up to 62 letters, digits, '-', '_', '.' or '/'"))
}

/// Whether `value` may be a label's value.
pub fn valid_label_value(value: &str) -> Result<(), InvalidName> {
    let valid = value.chars().count() <= 255 && !value.chars().any(char::is_control);
    valid
        .then_some(())
        .ok_or(InvalidName("at most 255 characters, none of them a control character"))
}

/// The number of an operation's transitions so far: 1, 2, 3, … without gaps. Guards writes and
/// resumes watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The next revision.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The number of an execution: 0 before the first, then 1, 2, 3, … It rises with every lease, so it is the fencing
/// token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The next attempt.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests;
