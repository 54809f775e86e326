//! Limits of tenants over HTTP.

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::StatusCode;
use serde_json::Value;

use super::call::Call;
use super::documents::{self, Answer, page_of};
use super::problem::Problem;
use crate::operation::{Kind, Scope};
use crate::proto::v1;
use crate::wire::limits;

/// `GET /v1/limits`.
pub(super) async fn list(mut call: Call) -> Answer {
    let tenant = limits::tenant_of(&call.query.take("tenant").unwrap_or_default());
    let mut found = call.finish_query();
    let tenant = found.take(tenant);
    let tenant = found.settle(tenant)?;
    let listed = call.service().list_limits(&call.caller, tenant.as_ref())?.into_iter();
    let listed = listed.map(|it| documents::object(call.types(), &limits::limit(it)));
    let listed = listed.map(|it| it.map(Value::Object)).collect::<Result<_, _>>()?;
    Ok(documents::json(StatusCode::OK, &page_of("limits", listed, String::new())))
}

/// `POST /v1/limits`: 200 with the limit in force.
pub(super) async fn set(mut call: Call, body: Body) -> Answer {
    let mut found = call.finish_query();
    let request: Option<v1::SetLimitRequest> = call.message(body, &mut found).await?;
    let limit = request.and_then(|request| {
        let v1::SetLimitRequest { what, tenant, kind, label, most } = request;
        let limit = limits::limit_to_set([&what, &tenant, &kind, &label], most, &mut found);
        limit.zip(Some(most))
    });
    let (limit, most) = found.settle(limit)?;
    let set = call.service().set_limit(&call.caller, limit, most).await?;
    let set = documents::object(call.types(), &limits::limit(set))?;
    Ok(documents::json(StatusCode::OK, &Value::Object(set)))
}

/// `POST /v1/kinds/{kind}:pause`: 204.
pub(super) async fn pause(mut call: Call) -> Answer {
    let (kind, whose) = kind(&mut call)?;
    call.service().pause_kind(&call.caller, whose, kind).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/kinds/{kind}:resume`: 204.
pub(super) async fn resume(mut call: Call) -> Answer {
    let (kind, whose) = kind(&mut call)?;
    call.service().resume_kind(&call.caller, whose, kind).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn kind(call: &mut Call) -> Result<(Kind, Option<Scope>), Problem> {
    let tenant = call.query.take("tenant").unwrap_or_default();
    let mut found = call.finish_query();
    let of = limits::kind_of(call.segment("kind"), &tenant, &mut found);
    Ok(found.settle(of)?)
}

/// `DELETE /v1/limits/{what}`: 200 with the limit that is in force instead.
pub(super) async fn delete(mut call: Call) -> Answer {
    let [tenant, kind, label] =
        ["tenant", "kind", "label"].map(|name| call.query.take(name).unwrap_or_default());
    let mut found = call.finish_query();
    let limit = limits::limit_of([call.segment("what"), &tenant, &kind, &label], &mut found);
    let left = call.service().delete_limit(&call.caller, &found.settle(limit)?).await?;
    let left = v1::DeleteLimitResponse { limit: left.map(limits::limit) };
    let left = documents::object(call.types(), &left)?;
    Ok(documents::json(StatusCode::OK, &Value::Object(left)))
}
