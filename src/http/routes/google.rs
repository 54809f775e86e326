//! The routes of Google's REST transports, for the operations of a tenant.

use serde_json::json;

use super::super::google;
use super::super::openapi::answers::{Answers, JSON, refer};
use super::super::route::Route;
use super::operations::not_modified;
use super::{ANY, CHANGE, of_one};
use crate::service::Reason::{
    DataLoss, ListTimeout, OperationNotDone, OperationNotFound, OriginRefused, PreconditionFailed,
    Unsupported,
};

/// The same without a tenant, at the paths of `google.longrunning`. They share their paths with longrun's own
/// interface: a request with `$alt` is for these.
pub(super) fn without_tenant() -> [Route; 4] {
    all().map(Route::without_tenant)
}

/// All routes.
pub(super) fn all() -> [Route; 4] {
    const ALL: &str = "/v1/tenants/{tenant}/operations";
    const ONE: &str = "/v1/tenants/{tenant}/operations/{id}";
    const CANCEL: &str = "/v1/tenants/{tenant}/operations/{id}:cancel";
    let as_json =
        |description: &str, schema: &str| Answers::default().json("200", description, &[], schema);
    let done =
        || Answers::default().empty("200", "Done.", &[]).also("200", JSON, &json!({"const": {}}));
    let page = as_json("A page.", "GoogleLongrunningListOperationsResponse");
    let about = ["ETag", "Retry-After?"];
    let operation =
        Answers::default().json("200", "The operation.", &about, "GoogleLongrunningOperation");
    [
        Route::new(
            "get",
            ALL,
            "listGoogleOperations",
            "google.longrunning.Operations.ListOperations",
            |call, _| Box::pin(google::list(call)),
        )
        .takes(&["tenant", "filter", "page_size", "page_token", "return_partial_success"])
        .answers(page)
        .for_google()
        .refuses(&[&ANY[..], &[OperationNotFound, Unsupported, ListTimeout]].concat()),
        Route::new(
            "get",
            ONE,
            "getGoogleOperation",
            "google.longrunning.Operations.GetOperation",
            |call, _| Box::pin(google::get(call)),
        )
        .takes(&["tenant", "id", "If-Match", "If-None-Match"])
        .answers(not_modified(operation))
        .for_google()
        .refuses(&of_one(&[DataLoss, PreconditionFailed])),
        Route::new(
            "delete",
            ONE,
            "deleteGoogleOperation",
            "google.longrunning.Operations.DeleteOperation",
            |call, _| Box::pin(google::delete(call)),
        )
        .takes(&["tenant", "id", "If-Match", "If-None-Match"])
        .answers(done())
        .for_google()
        .refuses(&of_one(&[OperationNotDone, OriginRefused, PreconditionFailed])),
        Route::new(
            "post",
            CANCEL,
            "cancelGoogleOperation",
            "google.longrunning.Operations.CancelOperation",
            |call, body| Box::pin(google::cancel(call, body)),
        )
        .takes(&["tenant", "id", "If-Match", "If-None-Match", "Content-Encoding.document"])
        .body(JSON, &refer("GoogleLongrunningCancelOperationRequest"), false)
        .answers(done())
        .for_google()
        .refuses(&of_one(&CHANGE))
        .refuses(&[PreconditionFailed]),
    ]
}
