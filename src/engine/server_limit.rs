//! Limits of the server itself.

/// A limit of the server itself, for all tenants together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerLimit {
    /// Operations that are not done.
    Outstanding,
    /// Operations of a kind that are not done; the submission or the mount sets the limit.
    Capacity,
    /// Requests that wait for the committer.
    Requests,
    /// Worker sessions.
    Sessions,
}

impl ServerLimit {
    /// All server limits.
    pub const ALL: [Self; 4] = [Self::Outstanding, Self::Capacity, Self::Requests, Self::Sessions];

    /// The name in metrics; distinct from those of tenants' limits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outstanding => "server-outstanding",
            Self::Capacity => "kind-capacity",
            Self::Requests => "server-requests",
            Self::Sessions => "server-sessions",
        }
    }
}

impl std::fmt::Display for ServerLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Outstanding => "operations that are not done",
            Self::Capacity => "operations of this kind that are not done",
            Self::Requests => "waiting requests",
            Self::Sessions => "worker sessions",
        })
    }
}
