//! Checks of a store, as the server would open it. They change nothing.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{Check, Finding};
use crate::cli::text;
use crate::config::StoreUrl;
use crate::store::postgres::checkup::{self, Examination};

/// The oldest PostgreSQL that the server accepts.
const OLDEST: u32 = 140_000;
/// The number of connections that a replica needs.
const PER_REPLICA: u64 = 10;
/// An older snapshot keeps many dead rows in the database.
const LONG_SNAPSHOT: Duration = Duration::from_secs(600);
const CLOCKS: Duration = Duration::from_secs(2);
/// A disk with less room is nearly full.
const ROOM_BYTES: u64 = 1 << 30;

pub(super) async fn examine(store: &StoreUrl) -> Vec<Finding> {
    match store {
        StoreUrl::Sqlite(path) => vec![file(path)],
        StoreUrl::Postgres(url) => match checkup::examine(url.secret()).await {
            Ok(found) => database(&found),
            Err(error) => {
                let advice = "a server could not start with this store (docs/postgres.md)";
                vec![Finding::failed(Check::Store, error, advice)]
            }
        },
    }
}

fn file(path: &Path) -> Finding {
    let shown = path.display();
    let folder =
        path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let room = match rustix::fs::statvfs(folder) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            let message = format!("the folder of {shown} cannot be read: {error}");
            return Finding::failed(Check::Store, message, "make the folder, or name another file");
        }
    };
    if rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err() {
        let message = format!("this user cannot write to {}", folder.display());
        let advice = "let the user write there, because the store's log is beside its file";
        return Finding::failed(Check::Store, message, advice);
    }
    let is_there = if path.exists() { "exists" } else { "would be created" };
    let gib = room as f64 / f64::from(1 << 30);
    match room < ROOM_BYTES {
        true => Finding::warning(
            Check::Store,
            format!("{shown} {is_there}; its disk has {gib:.1} GiB left"),
            "a full disk stops new work until there is room: keep done operations for a shorter time (--retention)",
        ),
        false => {
            Finding::ok(Check::Store, format!("{shown} {is_there}, with {gib:.0} GiB of room"))
        }
    }
}

fn database(found: &Examination) -> Vec<Finding> {
    let setting = |name: &str| found.settings.get(name).map_or("", String::as_str);
    let version = setting("server_version");
    let mut findings = settings_that_lose_data(found);
    let mut say = |is_wrong: bool, message: String, advice: &str| {
        if is_wrong {
            findings.push(Finding::warning(Check::Store, message, advice));
        }
    };
    let is_old = setting("server_version_num").parse().is_ok_and(|number: u32| number < OLDEST);
    say(is_old, format!("PostgreSQL {version} is too old"), "use PostgreSQL 14 or later");
    say(
        setting("autovacuum") == "off",
        "autovacuum is off".to_owned(),
        "set autovacuum = on: without it, dead rows pile up",
    );
    let most: u64 = setting("max_connections").parse().unwrap_or_default();
    let left = most.saturating_sub(found.connections);
    say(
        left < PER_REPLICA,
        format!("{left} of {most} connections are left, and a replica needs {PER_REPLICA}"),
        "raise max_connections, or stop clients that hold unused connections",
    );
    let is_cut = !matches!(setting("idle_session_timeout"), "" | "0");
    say(
        is_cut,
        "idle_session_timeout ends idle connections, which replicas need".to_owned(),
        "set idle_session_timeout = 0 for this user",
    );
    let age = text::duration(found.oldest_snapshot);
    say(
        found.oldest_snapshot > LONG_SNAPSHOT,
        format!(
            "a transaction has been open for {age}, so dead rows that it might see cannot be removed"
        ),
        "end it (pg_stat_activity shows its client), or set idle_in_transaction_session_timeout",
    );
    let ours = text::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let apart = ours.abs_diff(found.time);
    say(
        apart > CLOCKS,
        format!("the database's clock and this machine's differ by {}", text::duration(apart)),
        "run a time service (chrony, systemd-timesyncd) on both",
    );
    if findings.is_empty() {
        let message = format!(
            "PostgreSQL {version}, {left} of {most} connections left, no pooler that breaks sessions"
        );
        findings.push(Finding::ok(Check::Store, message));
    }
    findings
}

fn settings_that_lose_data(found: &Examination) -> Vec<Finding> {
    let consequences = [
        ("fsync", "a crash of the machine may damage the database and lose what was acknowledged"),
        ("full_page_writes", "a crash of the machine may damage the database"),
    ];
    let is_off = |name| found.settings.get(name).is_some_and(|value| value == "off");
    let off = consequences.into_iter().filter(|(name, _)| is_off(*name));
    let failed = off.map(|(name, consequence)| {
        let advice = format!("set {name} = on: {consequence}");
        Finding::failed(Check::Store, format!("{name} is off"), advice)
    });
    failed.collect()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_may_lose_data_is_a_failure_and_what_costs_time_a_warning() {
        for (setting, verdict) in [
            ("fsync", Verdict::Failed),
            ("full_page_writes", Verdict::Failed),
            ("autovacuum", Verdict::Warning),
        ] {
            let settings =
                [("server_version_num", "150000"), ("max_connections", "100"), (setting, "off")];
            let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let time = text::now().duration_since(UNIX_EPOCH).unwrap();
            let found = Examination {
                settings: settings.into(),
                time,
                connections: 3,
                oldest_snapshot: Duration::ZERO,
            };
            let findings = database(&found);
            let [finding] = &findings[..] else { panic!("{findings:?}") };
            assert_eq!(
                (finding.verdict, finding.message.as_str()),
                (verdict, &*format!("{setting} is off"))
            );
        }
    }
}
