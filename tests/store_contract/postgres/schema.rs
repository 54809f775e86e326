//! Opening: whose database it is, and what is made of it.

use longrun::store::{OpenError, Store};

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
    assert!(matches!(refused, OpenError::NewerSchema { found: 99, known: 3, .. }), "{refused:?}");
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
