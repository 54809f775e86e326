//! What `grpc.health.v1` tells: whether this server takes work, and that it is alive.
//!
//! Whoever restarts what is not healthy must ask for `liveness`: no restart makes room on a disk.

use tonic_health::ServingStatus;
pub use tonic_health::server::HealthReporter;

use crate::engine::StoreHealth;
use crate::service::Service;

/// The names under which it is told whether new work is taken.
const READINESS: [&str; 3] = ["", "longrun.v1.Operations", "longrun.v1.Workers"];
/// The name that is served as long as the server answers at all.
const LIVENESS: &str = "liveness";

/// Tells that this server takes work.
pub(super) async fn start(reporter: &HealthReporter) {
    reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
    set(reporter, ServingStatus::Serving).await;
}

/// Tells that this server takes no more work.
pub async fn set_not_serving(reporter: &HealthReporter) {
    set(reporter, ServingStatus::NotServing).await;
}

/// Tells whether the store takes writes, until the server begins to stop.
pub async fn follow_store(reporter: HealthReporter, service: Service) {
    let mut health = service.store_health();
    loop {
        tokio::select! {
            biased;
            () = service.closing() => break,
            changed = health.changed() => if changed.is_err() { break },
        }
        let writable = *health.borrow_and_update() == StoreHealth::Writable;
        let status = if writable { ServingStatus::Serving } else { ServingStatus::NotServing };
        set(&reporter, status).await;
    }
    service.closing().await;
    set_not_serving(&reporter).await;
}

async fn set(reporter: &HealthReporter, status: ServingStatus) {
    for name in READINESS {
        reporter.set_service_status(name, status).await;
    }
}
