//! Google's Rust client for long-running operations, unmodified, over REST, its only transport: how its pollers end.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_api::model::HttpBody;
use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::Result;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::{Code, StatusDetails};
use google_cloud_gax::exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use google_cloud_gax::paginator::{ItemPaginator as _, Paginator as _};
use google_cloud_gax::polling_error_policy::{Aip194Strict, PollingErrorPolicyExt as _};
use google_cloud_longrunning::client::Operations;
use google_cloud_lro::internal::{Operation, new_poller};
use google_cloud_lro::{Poller, PollingResult};
use google_cloud_wkt::message::Message;
use serde::{Deserialize, Serialize};

/// As much of `longrun.v1.OperationMetadata` as the check looks at.
#[derive(Debug, Deserialize, Serialize)]
struct Metadata {
    operation: OperationInMetadata,
}

#[derive(Debug, Deserialize, Serialize)]
struct OperationInMetadata {
    state: String,
}

impl Message for Metadata {
    fn typename() -> &'static str {
        "type.googleapis.com/longrun.v1.OperationMetadata"
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let url = std::env::var("LONGRUN_URL").expect("LONGRUN_URL");
    let credentials = anonymous::Builder::new().build();
    let client = Operations::builder().with_endpoint(&url).with_credentials(credentials);
    let client = client.build().await.expect("a client");

    let result = poller(&client, submit(&url, "shout", "hello").await, 30_000).until_done().await;
    assert_eq!(result.expect("a result").data, "HELLO");

    let failed = poller(&client, submit(&url, "fail", "").await, 30_000).until_done().await;
    let failed = failed.expect_err("a failure");
    let status = failed.status().expect("a status");
    assert_eq!((status.code, status.message.as_str()), (Code::Unknown, "no"));
    assert_eq!(reason(&failed), "EXIT_3");

    // The poller gives up; the operation goes on.
    let name = submit(&url, "nobody", "").await;
    let mut impatient = poller(&client, name.clone(), 300);
    match impatient.poll().await {
        Some(PollingResult::InProgress(Some(metadata))) => {
            assert_eq!(metadata.operation.state, "STATE_QUEUED");
        }
        other => panic!("{other:?}"),
    }
    let exhausted = impatient.until_done().await.expect_err("it has polled for long enough");
    assert!(exhausted.is_exhausted(), "{exhausted:?}");
    let going_on = client.get_operation().set_name(&name).send().await.expect("an operation");
    assert_eq!((going_on.name.as_str(), going_on.done), (name.as_str(), false));

    client.cancel_operation().set_name(&name).send().await.expect("a cancel");
    let cancelled = poller(&client, name.clone(), 30_000).until_done().await;
    let cancelled = cancelled.expect_err("a cancelled operation has no result");
    assert_eq!(cancelled.status().expect("a status").code, Code::Cancelled);

    client.delete_operation().set_name(&name).send().await.expect("a deletion");
    let gone = client.get_operation().set_name(&name).send().await.expect_err("it is gone");
    assert_eq!(gone.status().expect("a status").code, Code::NotFound);
    assert_eq!(reason(&gone), "OPERATION_NOT_FOUND");

    pages(&client, &url).await;
    println!("client: google-cloud-longrunning {}", version("google-cloud-longrunning"));
    println!("client: google-cloud-lro {}", version("google-cloud-lro"));
    println!("case: REST: result, error with details, metadata, time-out, cancel, delete, pages");
}

/// A poller of an operation that is there, as generated clients make it of what a method returns.
fn poller(
    client: &Operations,
    name: String,
    total_millis: u64,
) -> impl Poller<HttpBody, Metadata> + use<> {
    let get = {
        let client = client.clone();
        move |name: String| {
            let get = client.get_operation().set_name(name);
            async move { Result::Ok(Operation::new(get.send().await?)) }
        }
    };
    let start = get.clone();
    let total = Duration::from_millis(total_millis);
    let errors = Arc::new(Aip194Strict.with_time_limit(total));
    new_poller(errors, Arc::new(soon()), move || start(name), get)
}

fn soon() -> ExponentialBackoff {
    let delays = ExponentialBackoffBuilder::new().with_initial_delay(Duration::from_millis(50));
    delays.with_maximum_delay(Duration::from_secs(1)).build().expect("delays")
}

async fn pages(client: &Operations, url: &str) {
    for _ in 0..60 {
        submit(url, "rust-many", "").await;
    }
    let list = || client.list_operations().set_name("operations").set_filter("kind=rust-many");
    let mut sizes = Vec::new();
    let mut pages = list().set_page_size(25).by_page();
    while let Some(page) = pages.next().await {
        sizes.push(page.expect("a page").operations.len());
    }
    assert_eq!(sizes, [25, 25, 10]);
    let (mut items, mut count) = (list().by_item(), 0);
    while let Some(item) = items.next().await {
        item.expect("an operation");
        count += 1;
    }
    assert_eq!(count, 60);
}

/// The reason in the details of an error.
fn reason(error: &Error) -> &str {
    let details = error.status().map_or(&[][..], |status| &status.details);
    let infos = details.iter().filter_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) => Some(info.reason.as_str()),
        _ => None,
    });
    infos.last().unwrap_or_default()
}

/// Returns the name of the new operation.
async fn submit(url: &str, kind: &str, input: &str) -> String {
    let request = reqwest::Client::new().post(format!("{url}/v1/kinds/{kind}/operations"));
    let request = request.header("Content-Type", "text/plain").body(input.to_owned());
    let operation: serde_json::Value =
        request.send().await.expect("an answer").json().await.expect("an operation");
    operation["name"].as_str().expect("a name").to_owned()
}

/// The version of a package by the lock file.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split(&format!("name = \"{package}\"\nversion = \"")).nth(1);
    after.and_then(|after| after.split('"').next()).unwrap_or("?")
}
