//! The handler of each page.

use axum::response::Response;

use super::contents::Role;
use super::routes::Page;
use super::standing::{self, What};
use super::visit::Visit;
use super::{
    bulk, change, contents, deliveries, operation, operations, shares, sign_in, start, system,
    webhooks,
};
use crate::service::ServiceError;

/// Responds with the page.
pub(super) async fn answer(page: Page, visit: Visit) -> Result<Response, ServiceError> {
    match page {
        Page::SignIn => sign_in::page(&visit),
        Page::TakeKey => sign_in::take(&visit).await,
        Page::SignOut => Ok(sign_in::out()),
        Page::Operations => operations::page(&visit).await,
        Page::LiveOperations => operations::live(visit),
        Page::Operation => operation::page(&visit).await,
        Page::LiveOperation => operation::live(visit).await,
        Page::Input => contents::file(&visit, operation::named(&visit)?.id, Role::Input).await,
        Page::Result => contents::file(&visit, operation::named(&visit)?.id, Role::Result).await,
        Page::Cancel => change::cancel(&visit).await,
        Page::PauseKind => change::pause_kind(&visit).await,
        Page::ResumeKind => change::resume_kind(&visit).await,
        Page::RunNow => change::run_now(&visit).await,
        Page::Retry => change::retry(&visit).await,
        Page::Delete => change::delete(&visit).await,
        Page::Kinds => standing::page(&visit, What::Kinds).await,
        Page::LiveKinds => standing::live(visit, What::Kinds),
        Page::Workers => standing::page(&visit, What::Workers).await,
        Page::LiveWorkers => standing::live(visit, What::Workers),
        Page::CountMany => bulk::ask(&visit).await,
        Page::ChangeMany => bulk::change(&visit).await,
        Page::Start => start::page(&visit).await,
        Page::Submit => start::submit(&visit).await,
        Page::Webhooks => webhooks::list(&visit),
        Page::Shares => shares::page(&visit).await,
        Page::CreateShare => shares::create(&visit).await,
        Page::RevokeShare => shares::revoke(&visit).await,
        Page::CreateWebhook => webhooks::create(&visit).await,
        Page::Webhook => webhooks::page(&visit).await,
        Page::LiveWebhook => webhooks::live(visit),
        Page::PauseWebhook => webhooks::pause(&visit).await,
        Page::ResumeWebhook => webhooks::resume(&visit).await,
        Page::WebhookSecret => webhooks::secret(&visit),
        Page::RotateWebhook => webhooks::rotate(&visit).await,
        Page::DeleteWebhook => webhooks::delete(&visit).await,
        Page::Deliveries => deliveries::page(&visit).await,
        Page::LiveDeliveries => deliveries::live(visit),
        Page::Redeliver => deliveries::redeliver(&visit).await,
        Page::System => system::page(&visit).await,
        Page::LiveSystem => system::live(visit),
    }
}
