//! Opening: whose database it is, and what is made of it.

use std::time::{Duration, Instant};

use longrun::store::{OpenError, Store};

use crate::postgres_support::Cluster;

use super::*;

async fn refusal(url: &str) -> OpenError {
    let opened = PostgresStore::open(url, &PostgresOptions::default()).await;
    opened.err().expect("a refusal")
}

#[tokio::test]
async fn replicas_that_start_at_once_make_one_schema() {
    let database = database().await;
    let stores = futures_util::future::join_all((0..4).map(|_| open(&database))).await;
    stored(&stores[0], submission(1)).await;
    assert!(load(&stores[3], id(1)).await.is_some());
    let admin = database.connect().await;
    let versions = admin.query("SELECT version, compatible_with FROM longrun_schema", &[]).await;
    assert_eq!(versions.unwrap().len(), 1);
    for store in stores {
        store.close().await;
    }
    let again = open(&database).await;
    assert!(load(&again, id(1)).await.is_some());
    again.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_used_if_it_may_be() {
    let database = database().await;
    open(&database).await.close().await;
    let admin = database.connect().await;
    admin.batch_execute("UPDATE longrun_schema SET version = 99").await.unwrap();
    open(&database).await.close().await;
    admin.batch_execute("UPDATE longrun_schema SET compatible_with = 99").await.unwrap();
    let refused = refusal(&database.url).await;
    assert!(matches!(refused, OpenError::NewerSchema { found: 99, known: 10, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    let database = database().await;
    let admin = database.connect().await;
    admin.batch_execute("CREATE TABLE events (diary text)").await.unwrap();
    let refused = refusal(&database.url).await;
    assert!(matches!(refused, OpenError::NotAStore { .. }), "{refused:?}");
    // A schema of its own will do.
    admin.batch_execute("CREATE SCHEMA longrun").await.unwrap();
    let store = open_url(&format!("{}?options=-csearch_path%3Dlongrun", database.url)).await;
    stored(&store, submission(1)).await;
    store.close().await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_without_its_password() {
    let port = crate::postgres_support::cluster().port();
    for (url, said) in [
        (format!("postgres://longrun:secret@127.0.0.1:{port}/nowhere"), "nowhere"),
        ("postgres://longrun:secret@127.0.0.1:1/jobs".to_owned(), "127.0.0.1:1/jobs"),
        (format!("postgres://longrun:secret@127.0.0.1:{port}/postgres?sslmode=require"), "TLS"),
        (format!("postgres://longrun:secret@127.0.0.1:{port}/postgres?sslmode=maybe"), "sslmode"),
        (
            format!("postgres://longrun:secret@127.0.0.1:{port}/postgres?sslrootcert=/no/file"),
            "/no/file",
        ),
    ] {
        let refused = refusal(&url).await.to_string();
        assert!(refused.contains(said) && !refused.contains("secret"), "{refused}");
    }
}

/// The first host that takes writes is used.
#[tokio::test]
async fn one_of_several_hosts_will_do() {
    let database = database().await;
    let port = crate::postgres_support::cluster().port();
    let url = format!("postgres://longrun@127.0.0.1:1,127.0.0.1:{port}/{}", database.name);
    let store = open_url(&url).await;
    stored(&store, submission(1)).await;
    store.close().await;
}

/// A newer program has changed the schema under a replica, which notices with its next writing connection.
#[tokio::test]
async fn a_replica_that_has_become_too_old_writes_no_more() {
    let database = database().await;
    let store = open(&database).await;
    stored(&store, submission(1)).await;
    let admin = database.connect().await;
    let change = "UPDATE longrun_schema SET version = 99, compatible_with = 99";
    admin.batch_execute(change).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.query(end, &[]).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The connections that were ended fail first.
    let refused = loop {
        assert!(Instant::now() < deadline, "it is not noticed");
        match store.commit(submitting([submission(2)])).await.unwrap_err().to_string() {
            refused if refused.contains("newer longrun") => break refused,
            _ => {}
        }
    };
    assert!(refused.contains("schema version 99"), "{refused}");
    assert!(store.settle().await.unwrap_err().to_string().contains("newer longrun"));
    // A schema that it may use again.
    admin.batch_execute("UPDATE longrun_schema SET compatible_with = 1").await.unwrap();
    stored(&store, submission(3)).await;
    store.close().await;
}

/// The error is that of the primary, not that of the standby behind it, which takes no writes.
#[tokio::test]
async fn each_address_says_why_it_does_not_do() {
    let primary = crate::postgres_support::cluster();
    let admin = crate::postgres_support::connect(&primary.url("postgres")).await;
    admin.batch_execute("CREATE ROLE limited LOGIN CONNECTION LIMIT 0").await.unwrap();
    let start = || Cluster::start_with(&["default_transaction_read_only=on"]);
    let standby = tokio::task::spawn_blocking(start).await.unwrap();
    let admin = crate::postgres_support::connect(&standby.url("postgres")).await;
    for statement in ["SET default_transaction_read_only = off", "CREATE ROLE limited LOGIN"] {
        admin.batch_execute(statement).await.unwrap();
    }
    let (first, second) = (primary.port(), standby.port());
    let url = format!("postgres://limited@127.0.0.1:{first},127.0.0.1:{second}/postgres");
    let refused = refusal(&url).await.to_string();
    let said = format!("127.0.0.1:{first}: its connections have run out");
    assert!(refused.contains(&said) && refused.contains("(53300)"), "{refused}");
    let said = format!("127.0.0.1:{second}: ");
    assert!(refused.contains(&said) && refused.contains("does not allow writes"), "{refused}");
    let alone =
        refusal(&format!("postgres://limited@127.0.0.1:{first}/postgres")).await.to_string();
    assert!(!alone.contains("does not allow writes") && alone.contains("run out"), "{alone}");
}
