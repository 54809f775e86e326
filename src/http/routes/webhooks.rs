//! The routes of webhooks and their deliveries.

use super::{ANY, CHANGE};
use crate::http::openapi::answers::{Answers, JSON, refer};
use crate::http::route::Route;
use crate::http::webhooks;
use crate::service::Reason::{self, *};

pub(super) fn all() -> Vec<Route> {
    vec![
        create(),
        list(),
        delete(),
        pause(),
        resume(),
        secret(),
        rotate(),
        deliveries(),
        redeliver(),
    ]
}

/// Refusals of every change of a webhook or a delivery.
const OF_ONE: [Reason; 3] = [OriginRefused, ResourceExhausted, Unsupported];

fn create() -> Route {
    let about = "The webhook, with the secret that signs messages.";
    let answers = Answers::default().json("201", about, &[], "CreateWebhookResponse");
    let summary =
        "Makes a webhook: the server reports transitions to a receiver by signed requests";
    Route::new("post", "/v1/webhooks", "createWebhook", summary, |call, body| {
        Box::pin(webhooks::create(call, body))
    })
    .takes(&["Content-Encoding.document"])
    .body(JSON, &refer("CreateWebhookRequest"), true)
    .answers(answers)
    .refuses(&[&ANY[..], &CHANGE, &[ResourceExhausted, Unsupported]].concat())
}

fn list() -> Route {
    let answers = Answers::default().json("200", "The webhooks.", &[], "ListWebhooksResponse");
    let about = "Lists webhooks, without their secrets";
    Route::new("get", "/v1/webhooks", "listWebhooks", about, |call, _| {
        Box::pin(webhooks::list(call))
    })
    .takes(&["tenant.webhooks"])
    .answers(answers)
    .refuses(&[&ANY[..], &[Unsupported]].concat())
}

fn delete() -> Route {
    let answers = Answers::default().empty("204", "The webhook is deleted.", &[]);
    let about = "Deletes a webhook, and its pending deliveries";
    Route::new("delete", "/v1/webhooks/{webhook_id}", "deleteWebhook", about, |call, _| {
        Box::pin(webhooks::delete(call))
    })
    .takes(&["webhook_id", "tenant.webhooks"])
    .answers(answers)
    .refuses(&[&ANY[..], &OF_ONE, &[WebhookNotFound]].concat())
}

fn pause() -> Route {
    let answers = Answers::default().json("200", "The paused webhook.", &[], "Webhook");
    let about = "Pauses a webhook: deliveries are stored and not sent";
    let path = "/v1/webhooks/{webhook_id}:pause";
    Route::new("post", path, "pauseWebhook", about, |call, _| Box::pin(webhooks::pause(call)))
        .takes(&["webhook_id", "tenant.webhooks"])
        .answers(answers)
        .refuses(&[&ANY[..], &OF_ONE, &[WebhookNotFound]].concat())
}

fn resume() -> Route {
    let answers = Answers::default().json("200", "The webhook.", &[], "Webhook");
    let about = "Resumes a webhook: deliveries that waited are sent";
    let path = "/v1/webhooks/{webhook_id}:resume";
    Route::new("post", path, "resumeWebhook", about, |call, _| Box::pin(webhooks::resume(call)))
        .takes(&["webhook_id", "tenant.webhooks"])
        .answers(answers)
        .refuses(&[&ANY[..], &OF_ONE, &[WebhookNotFound]].concat())
}

fn secret() -> Route {
    let answers = Answers::default().json("200", "The secret.", &[], "GetWebhookSecretResponse");
    let about = "Returns the secret of a webhook";
    Route::new("get", "/v1/webhooks/{webhook_id}/secret", "getWebhookSecret", about, |call, _| {
        Box::pin(webhooks::secret(call))
    })
    .takes(&["webhook_id", "tenant.webhooks"])
    .answers(answers)
    .refuses(&[&ANY[..], &[WebhookNotFound, Unsupported]].concat())
}

fn rotate() -> Route {
    let answers =
        Answers::default().json("200", "The new secret.", &[], "RotateWebhookSecretResponse");
    let about = "Makes a new secret for a webhook; the previous one signs as well for a day";
    let path = "/v1/webhooks/{webhook_id}:rotate";
    Route::new("post", path, "rotateWebhookSecret", about, |call, _| {
        Box::pin(webhooks::rotate(call))
    })
    .takes(&["webhook_id", "tenant.webhooks"])
    .answers(answers)
    .refuses(&[&ANY[..], &OF_ONE, &[WebhookNotFound]].concat())
}

fn deliveries() -> Route {
    let answers = Answers::default().json("200", "A page.", &[], "ListDeliveriesResponse");
    let about = "Lists deliveries of webhooks, the latest first";
    Route::new("get", "/v1/deliveries", "listDeliveries", about, |call, _| {
        Box::pin(webhooks::deliveries(call))
    })
    .takes(&[
        "tenant.webhooks",
        "state.delivery",
        "webhook_id.delivery",
        "operation.delivery",
        "page_size",
        "page_token",
    ])
    .answers(answers)
    .refuses(&[&ANY[..], &[Unsupported]].concat())
}

fn redeliver() -> Route {
    let answers = Answers::default().json("200", "The delivery after the call.", &[], "Delivery");
    let path = "/v1/deliveries/{delivery_id}:redeliver";
    let about = "Sends a delivery again, under the same id";
    Route::new("post", path, "redeliver", about, |call, _| Box::pin(webhooks::redeliver(call)))
        .takes(&["delivery_id", "tenant.webhooks"])
        .answers(answers)
        .refuses(&[&ANY[..], &OF_ONE, &[DeliveryNotFound]].concat())
}
