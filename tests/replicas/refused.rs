//! Databases that cannot be used: the server does not start, says why, and keeps the password to itself.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::postgres_support::{Database, cluster, connect, database};
use crate::support::{Replica, longrun};

/// Part of all passwords here.
const SECRET: &str = "sesame";
/// `guarded` needs a password.
const WHO: &str = "host all guarded 127.0.0.1/32 scram-sha-256
local all guarded scram-sha-256
host all all 127.0.0.1/32 trust
local all all trust
";

/// What a program says that must exit with `code`.
fn refused(code: i32, mut command: Command) -> String {
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    // Whatever it says fits into the pipes.
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("{command:?} goes on");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut said = String::new();
    process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(code), "{command:?}: {said}");
    assert!(!said.contains(SECRET), "{said}");
    said
}

/// What a server says that does not start.
fn refusal(store: &str) -> String {
    refused(1, longrun(&["serve", "--listen", "127.0.0.1:0", "--log", "debug", "--store", store]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_use_its_database_says_why_and_not_the_password() {
    let Database { name, .. } = database().await;
    let cluster = cluster();
    cluster.write("pg_hba.conf", WHO);
    // It is read when settings are.
    cluster.set("log_connections", "on").await;
    let admin = connect(&cluster.url(&name)).await;
    for statement in [
        "CREATE ROLE guarded LOGIN PASSWORD 'open-sesame'".to_owned(),
        // As it is from version 15 on.
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
    ] {
        admin.batch_execute(&statement).await.unwrap();
    }
    let place = format!("127.0.0.1:{}", cluster.port());
    let socket = cluster.socket_directory().display().to_string().replace('/', "%2F");
    let socket = format!("{socket}:{}", cluster.port());
    for (store, why) in [
        (format!("guarded:close-sesame@{place}/{name}"), "password authentication failed for user"),
        (
            format!("guarded:close-sesame@{socket}/{name}"),
            "password authentication failed for user",
        ),
        (format!("guarded@{place}/{name}"), "password missing"),
        (format!("guarded:open-sesame@{place}/{name}"), "permission denied for schema public"),
        (format!("guarded@{place}/{name}?password=open-sesame"), "permission denied for schema"),
        (format!("longrun:sesame@{place}/nowhere"), "database \"nowhere\" does not exist"),
        (format!("nobody:sesame@{place}/{name}"), "role \"nobody\" does not exist"),
        (format!("longrun:sesame@{place}/{name}?sslmode=require"), "does not support TLS"),
        (format!("longrun:sesame@127.0.0.1:1/{name}"), "Connection refused"),
        (format!("longrun:sesame@%2Fno%2Fsuch%2Fplace/{name}"), "No such file or directory"),
        (format!("longrun:sesame@/{name}"), "names no host"),
        (format!("longrun:sesame@{place}/{name}?sslmode=on"), "sslmode must be"),
        (format!("longrun:se?same@{place}/{name}"), "%3F"),
        (format!("longrun:open@sesame@{place}/{name}"), "%40"),
    ] {
        let said = refusal(&format!("postgres://{store}"));
        assert!(said.contains(why), "{store}: {said}");
    }
    // What all of these lack.
    admin.batch_execute("GRANT CREATE ON SCHEMA public TO guarded").await.unwrap();
    for place in [place, socket] {
        let store = format!("postgres://guarded:open%2Dsesame@{place}/{name}");
        Replica::start(&store, &[]).submit("started").await;
    }
}

/// Slips of the pen, in flags and in the variable.
#[test]
fn what_is_no_url_is_not_repeated() {
    for store in ["postgre://u:sesame@h/d", "postgres:/u:sesame@h/d", "u:sesame@h/d"] {
        let mut by_variable = longrun(&["serve"]);
        by_variable.env("LONGRUN_STORE", store);
        let commands = [
            longrun(&["serve", "--store", store]),
            by_variable,
            longrun(&["store", "copy", store, "sqlite:to.db"]),
            longrun(&["store", "backup", "--store", store, "to.db"]),
        ];
        for command in commands {
            let said = refused(2, command);
            assert!(
                said.contains("must be sqlite:PATH or postgres://USER@HOST/DATABASE"),
                "{said}"
            );
        }
    }
    let mut backup = longrun(&["store", "backup", "to.db"]);
    backup.env("LONGRUN_STORE", "postgres://u:sesame@h/d");
    assert!(refused(2, backup).contains("pg_dump"));
}
