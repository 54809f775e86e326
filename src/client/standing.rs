//! Workers and kinds, to find out why operations do not start.

use super::{Client, ClientError};
use crate::proto::v1::{
    ListKindsRequest, ListKindsResponse, ListWorkersRequest, ListWorkersResponse,
};

impl Client {
    /// The workers that execute the caller's operations; only those that serve `kind`, unless it is empty.
    pub async fn list_workers(&self, kind: &str) -> Result<ListWorkersResponse, ClientError> {
        let request = ListWorkersRequest { kind: kind.to_owned() };
        self.unary(request, async |mut rpc, request| rpc.list_workers(request).await).await
    }

    /// The caller's kinds, with the numbers of queued and running operations.
    pub async fn list_kinds(&self) -> Result<ListKindsResponse, ClientError> {
        let request = ListKindsRequest {};
        self.unary(request, async |mut rpc, request| rpc.list_kinds(request).await).await
    }
}
