//! The program with its objects in S3.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;

use crate::double::{Fault, S3, is_missing};
use crate::uploads::contents;

const SIZE: usize = 9 << 20;

/// The program, without the settings of whoever runs the tests.
fn longrun(s3: &S3, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    for (name, _) in std::env::vars() {
        if name.starts_with("LONGRUN_") || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(s3.variables()).stdin(Stdio::null());
    command
}

struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(s3: &S3, store: &str, prefix: &str) -> Self {
        let objects = format!("s3://bucket/{prefix}");
        let args = ["serve", "--listen", "127.0.0.1:0", "--store", store, "--objects", &objects];
        let mut command = longrun(s3, &[&args[..], &["--handler", "same=cat"]].concat());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("longrun listening on ").expect("it is up").to_owned();
        Self { process, url }
    }

    fn run(&self, s3: &S3, args: &[&str]) -> Output {
        longrun(s3, args).args(["--server", &self.url]).output().unwrap()
    }

    fn expect(&self, s3: &S3, args: &[&str]) -> String {
        let output = self.run(s3, args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn store_in(directory: &Path, name: &str) -> String {
    format!("sqlite:{}", directory.join(name).display())
}

async fn keys_become(s3: &S3, count: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let keys = s3.keys().await;
        if keys.len() == count {
            return keys;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{keys:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_contents_live_in_the_bucket_and_damage_is_told() {
    if is_missing() {
        return;
    }
    let (s3, directory) = (S3::start().await, tempfile::tempdir().unwrap());
    let store = store_in(directory.path(), "a.db");
    let server = Server::start(&s3, &store, "a");
    let file = directory.path().join("input");
    std::fs::File::create(&file).unwrap().write_all(&contents(SIZE)).unwrap();
    let input = format!("@{}", file.display());
    // In the middle of it the object store stumbles.
    s3.breaks(1, Fault::Status(500), |method, uri| {
        method == Method::PUT && uri.to_string().contains("partNumber=1")
    });
    let name = server.expect(&s3, &["submit", "same", &input, "--wait", "--quiet"]);
    assert_eq!(s3.unbroken(), 0);
    let keys = keys_become(&s3, 2).await;
    assert!(keys.iter().all(|key| key.starts_with("a/")), "{keys:?}");
    let read = |server: &Server| server.run(&s3, &["result", &name]);
    assert!(read(&server).stdout == contents(SIZE));

    // A copy of the store takes them to another place.
    drop(server);
    let other = store_in(directory.path(), "b.db");
    let args = ["store", "copy", &store, &other, "--from-objects", "s3://bucket/a"];
    let mut copying = longrun(&s3, &args);
    let copied = copying.args(["--to-objects", "s3://bucket/b", "--json"]).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert_eq!(s3.keys().await.len(), 4);
    let server = Server::start(&s3, &other, "b");
    assert!(read(&server).stdout == contents(SIZE));

    // What is cut off, or not what it was, is told and not given out as the whole.
    let keys = s3.keys().await;
    let of_b: Vec<&String> = keys.iter().filter(|key| key.starts_with("b/")).collect();
    let mut changed = contents(SIZE).to_vec();
    changed[SIZE / 2] ^= 1;
    for damaged in [contents(SIZE).slice(..SIZE - 1), Bytes::from(changed)] {
        for key in &of_b {
            s3.ask(Method::PUT, &format!("/bucket/{key}"), damaged.clone()).await;
        }
        let output = read(&server);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.len() < SIZE, "{told}");
        assert!(told.contains("DATA_LOSS") || told.contains("damaged"), "{told}");
    }
    for key in &of_b {
        s3.ask(Method::DELETE, &format!("/bucket/{key}"), Bytes::new()).await;
    }
    let told = String::from_utf8_lossy(&read(&server).stderr).into_owned();
    assert!(told.contains("missing"), "{told}");
    drop(server);

    // They go with their operation.
    let server = Server::start(&s3, &store, "a");
    server.expect(&s3, &["delete", &name, "--yes"]);
    assert_eq!(keys_become(&s3, 0).await, [""; 0]);
}
