//! Permissions: the one table of roles and actions, rpcs and routes.

use crate::operation::Role;

/// The actions of use cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads data of no tenant: health, and the description of the API. Needs no credentials.
    Look,
    /// Stores an operation.
    Submit,
    /// Cancels or deletes an operation, or starts a deferred one.
    Change,
    /// Reads one operation without its contents: its state, its history.
    Inspect,
    /// Reads many operations, except their contents: lists, feeds, counts.
    List,
    /// Reads a result.
    Read,
    /// Reads an input.
    ReadInput,
    /// Makes, lists and revokes URLs that show an operation to people without credentials.
    Share,
    /// Executes operations.
    Work,
    /// Makes, lists and revokes a tenant's own keys and webhooks.
    Administer,
    /// Changes settings of a whole tenant from outside it.
    Operate,
}

impl Action {
    /// The roles that permit the action.
    pub(super) const fn roles(self) -> &'static [Role] {
        match self {
            Self::Look => &Role::ALL,
            Self::Submit | Self::Change => &[Role::Submit, Role::Admin],
            Self::Inspect | Self::List => &[Role::Read, Role::Admin, Role::Operator],
            Self::Read | Self::ReadInput | Self::Share => &[Role::Read, Role::Admin],
            Self::Work => &[Role::Work],
            Self::Administer => &[Role::Admin, Role::Operator],
            Self::Operate => &[Role::Operator],
        }
    }
}

/// The action of each rpc. An rpc that is not listed here is not served.
const RPCS: &[(&str, Action)] = &[
    ("/longrun.v1.Operations/Submit", Action::Submit),
    ("/longrun.v1.Operations/SubmitAndWatch", Action::Submit),
    ("/longrun.v1.Operations/SubmitBatch", Action::Submit),
    ("/longrun.v1.Operations/RetryOperation", Action::Submit),
    ("/longrun.v1.Operations/GetOperation", Action::Inspect),
    ("/longrun.v1.Operations/WaitOperation", Action::Inspect),
    ("/longrun.v1.Operations/WatchOperation", Action::Inspect),
    ("/longrun.v1.Operations/WatchOperations", Action::List),
    ("/longrun.v1.Operations/ListOperations", Action::List),
    ("/longrun.v1.Operations/ListEvents", Action::Inspect),
    ("/longrun.v1.Operations/ListWorkers", Action::List),
    ("/longrun.v1.Operations/ListKinds", Action::List),
    ("/longrun.v1.Operations/CancelOperation", Action::Change),
    ("/longrun.v1.Operations/RunOperation", Action::Change),
    ("/longrun.v1.Operations/DeleteOperation", Action::Change),
    ("/longrun.v1.Operations/ReadResult", Action::Read),
    // An attempt's token is sufficient; otherwise the use case requires the role.
    ("/longrun.v1.Operations/ReadInput", Action::Look),
    ("/longrun.v1.Workers/Work", Action::Work),
    ("/longrun.v1.Workers/Acquire", Action::Work),
    ("/longrun.v1.Workers/Renew", Action::Look),
    ("/longrun.v1.Workers/Complete", Action::Look),
    ("/longrun.v1.Workers/Fail", Action::Look),
    ("/longrun.v1.Workers/Release", Action::Look),
    ("/longrun.v1.Workers/AddLog", Action::Look),
    ("/longrun.v1.Admin/CreateKey", Action::Administer),
    ("/longrun.v1.Admin/ListKeys", Action::Administer),
    ("/longrun.v1.Admin/RevokeKey", Action::Administer),
    ("/longrun.v1.Admin/ListLimits", Action::Operate),
    ("/longrun.v1.Admin/SetLimit", Action::Operate),
    ("/longrun.v1.Admin/DeleteLimit", Action::Operate),
    ("/longrun.v1.Admin/PauseKind", Action::Administer),
    ("/longrun.v1.Admin/ResumeKind", Action::Administer),
    ("/longrun.v1.Admin/CreateShare", Action::Share),
    ("/longrun.v1.Admin/ListShares", Action::Share),
    ("/longrun.v1.Admin/RevokeShare", Action::Share),
    ("/longrun.v1.Admin/CreateWebhook", Action::Administer),
    ("/longrun.v1.Admin/ListWebhooks", Action::Administer),
    ("/longrun.v1.Admin/DeleteWebhook", Action::Administer),
    ("/longrun.v1.Admin/PauseWebhook", Action::Administer),
    ("/longrun.v1.Admin/ResumeWebhook", Action::Administer),
    ("/longrun.v1.Admin/GetWebhookSecret", Action::Administer),
    ("/longrun.v1.Admin/RotateWebhookSecret", Action::Administer),
    ("/longrun.v1.Admin/ListDeliveries", Action::Administer),
    ("/longrun.v1.Admin/Redeliver", Action::Administer),
    // Their responses carry results.
    ("/google.longrunning.Operations/ListOperations", Action::Read),
    ("/google.longrunning.Operations/GetOperation", Action::Read),
    ("/google.longrunning.Operations/WaitOperation", Action::Read),
    ("/google.longrunning.Operations/CancelOperation", Action::Change),
    ("/google.longrunning.Operations/DeleteOperation", Action::Change),
];

/// The action of each route, by its name in the OpenAPI document; the same with and without a tenant in the path.
const ROUTES: &[(&str, Action)] = &[
    ("getLiveness", Action::Look),
    ("getReadiness", Action::Look),
    ("getDescription", Action::Look),
    ("getMetrics", Action::Operate),
    ("submit", Action::Submit),
    ("submitOfKind", Action::Submit),
    ("submitBatch", Action::Submit),
    ("retryOperation", Action::Submit),
    ("listOperations", Action::List),
    ("watchOperations", Action::List),
    ("getOperation", Action::Inspect),
    ("getStatus", Action::Inspect),
    ("listEvents", Action::Inspect),
    ("listWorkers", Action::List),
    ("listKinds", Action::List),
    ("cancelOperation", Action::Change),
    ("runOperation", Action::Change),
    ("deleteOperation", Action::Change),
    ("getResult", Action::Read),
    ("getInput", Action::ReadInput),
    ("acquireAttempt", Action::Work),
    ("getAttempt", Action::Look),
    ("getInputOfAttempt", Action::Look),
    ("renewAttempt", Action::Look),
    ("completeAttempt", Action::Look),
    ("failAttempt", Action::Look),
    ("releaseAttempt", Action::Look),
    ("addLogOfAttempt", Action::Look),
    ("createKey", Action::Administer),
    ("listKeys", Action::Administer),
    ("revokeKey", Action::Administer),
    ("listLimits", Action::Operate),
    ("setLimit", Action::Operate),
    ("deleteLimit", Action::Operate),
    ("pauseKind", Action::Administer),
    ("resumeKind", Action::Administer),
    ("createShare", Action::Share),
    ("listShares", Action::Share),
    ("revokeShare", Action::Share),
    ("createWebhook", Action::Administer),
    ("listWebhooks", Action::Administer),
    ("deleteWebhook", Action::Administer),
    ("pauseWebhook", Action::Administer),
    ("resumeWebhook", Action::Administer),
    ("getWebhookSecret", Action::Administer),
    ("rotateWebhookSecret", Action::Administer),
    ("listDeliveries", Action::Administer),
    ("redeliver", Action::Administer),
    // A share's token is sufficient, and makes a caller for one operation.
    ("getShared", Action::Look),
    ("getSharedStatus", Action::Look),
    ("getSharedResult", Action::Look),
    ("watchShared", Action::Look),
    ("listGoogleOperations", Action::Read),
    ("getGoogleOperation", Action::Read),
    ("deleteGoogleOperation", Action::Change),
    ("cancelGoogleOperation", Action::Change),
];

/// The paths of all rpcs of the table.
pub fn rpcs() -> impl Iterator<Item = &'static str> {
    RPCS.iter().map(|(path, _)| *path)
}

/// The names of all routes.
pub fn routes() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().map(|(name, _)| *name)
}

/// The name of a route, as a static text of the table.
pub fn name_of_route(name: &str) -> Option<&'static str> {
    routes().find(|route| *route == name)
}

/// The action of a route, by its name.
pub fn action_of_route(name: &str) -> Option<Action> {
    ROUTES.iter().find(|(route, _)| *route == name).map(|(_, action)| *action)
}

/// The action of an rpc, by its path.
pub fn action_of_rpc(path: &str) -> Option<Action> {
    RPCS.iter().find(|(rpc, _)| *rpc == path).map(|(_, action)| *action)
}
