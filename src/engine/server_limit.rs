//! Limits of the server itself.

/// A limit of the server itself, whoever the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerLimit {
    /// Operations that are not done.
    Outstanding,
    /// Operations of a kind that are not done, as the submission or the mount says.
    Capacity,
    /// Requests that wait to be committed.
    Requests,
    /// Sessions of workers.
    Sessions,
}

impl ServerLimit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Outstanding, Self::Capacity, Self::Requests, Self::Sessions];

    /// The name in metrics, which no limit of tenants has.
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
