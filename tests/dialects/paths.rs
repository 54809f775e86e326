//! What must not get through: paths of one mount that lead to another, ids of other forms, pages of other sites, and
//! texts that break documents.

use longrun::worker::{Failure, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Setup, soon};

const BULK: &str = "/v1/accounts/2ce1a86e-7331-4542-b1f8-085ac1225cff";

/// The status of an answer to a request line that no client library would send.
async fn raw(setup: &Setup, path: &str) -> u16 {
    let mut socket = tokio::net::TcpStream::connect(setup.addr).await.expect("a connection");
    let text =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: b\r\nConnection: close\r\n\r\n");
    socket.write_all(text.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test]
async fn no_path_leads_out_of_its_mount() {
    let setup = Setup::five().await;
    let answer = setup.ask("POST", &format!("{BULK}/sets/7/devices"), &[], "").await.expect(202);
    let id = answer.header("location").rsplit('/').next().expect("an id").to_owned();
    let hex = id.replace('-', "");
    for path in [
        format!("{BULK}/../operations/{id}"),
        format!("{BULK}/%2e%2e/operations/{id}"),
        format!("/v1/accounts/other/operations/{id}"),
        format!("{BULK}/operations/{id}/"),
        format!("{BULK}//operations/{id}"),
        format!("{BULK}/operations/{}", id.to_uppercase()),
        format!("{BULK}/operations/{hex}"),
        format!("{BULK}/operations/%30{}", &id[1..]),
        format!("{BULK}/operations/.."),
        // It is an operation, but not of these mounts.
        format!("/api/v2/background_jobs/{id}"),
        format!("/bgrs/{hex}"),
        format!("/bgrs/{id}"),
        format!("/api/management-server/jobs/{id}"),
        format!("/provisioning/async/{id}"),
        format!("/bgrs/../v1/operations/{id}"),
        "/bgrs/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/v2.5/../provisioning/x".to_owned(),
        "/v2.5/%2e%2e/provisioning/x".to_owned(),
        "/provisioning/..%2fx?async=true".to_owned(),
        "/provisioning//evil.example/x?async=true".to_owned(),
    ] {
        let status = raw(&setup, &path).await;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    let up = format!("{BULK}/sets/%2e%2e/devices");
    setup.ask("POST", &up, &[], "").await.expect(400);
    assert!(setup.is_quiet().await, "the API was asked");
    setup.get(&format!("{BULK}/operations/{id}")).await.expect(200);
}

#[tokio::test]
async fn methods_are_told() {
    let setup = Setup::five().await;
    let answer = setup.ask("POST", &format!("{BULK}/sets/7/devices"), &[], "").await.expect(202);
    let path = answer.header("location").to_owned();
    for method in ["POST", "DELETE", "PATCH"] {
        let refused = setup.ask(method, &path, &[], "").await.expect(405);
        assert_eq!(refused.header("allow"), "GET,HEAD,OPTIONS");
        assert_eq!(refused.header("content-type"), "application/problem+json");
    }
    let allowed = setup.ask("OPTIONS", &path, &[], "").await.expect(204);
    assert_eq!(allowed.header("allow"), "GET,HEAD,OPTIONS");
    let allowed = setup.ask("OPTIONS", &format!("{BULK}/sets/7/devices"), &[], "").await;
    assert_eq!(allowed.expect(204).header("allow"), "POST,OPTIONS");
    let head = setup.ask("HEAD", &path, &[], "").await.expect(200);
    let length = setup.get(&path).await.body.len().to_string();
    assert_eq!((head.header("content-length"), head.body.len()), (length.as_str(), 0));
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let setup = Setup::five().await;
    let origin = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    for path in ["/api/management-server/fileshares", &format!("{BULK}/sets/7/devices")] {
        setup.ask("POST", path, &origin, "").await.expect(403);
    }
    let none = setup.get("/v1/operations").await.expect(200);
    assert_eq!(none.json()["operations"], serde_json::json!([]));
}

#[tokio::test]
async fn no_text_of_a_client_or_worker_breaks_a_document() {
    let hostile = "\", \"admin\": true, {{ id }} {% raw %} </script>\u{2028}\\\r\nSet-Cookie: a=b";
    let setup = Setup::five().await;
    let answer = setup.ask("POST", &format!("{BULK}/sets/7/devices"), &[], "").await.expect(202);
    let work = setup.work().await;
    let failure = Failure::permanent(hostile, hostile).with_metadata("id", hostile);
    let _ = work.end.send(Err(failure));
    let location = answer.header("location");
    let document = setup.ask("GET", location, &[("prefer", "wait=10")], "").await.expect(200);
    let expected = serde_json::json!({"id": hostile, "message": hostile, "code": hostile});
    assert_eq!(document.json()["error"], expected);
    assert!(!document.headers.contains_key("set-cookie"));

    let submit = "/api/management-server/fileshares";
    let job = setup.ask("POST", submit, &[("host", "evil\"host")], "").await;
    assert!(job.status == 202 || job.status == 400);
    if job.status == 202 {
        assert!(!job.header("location").contains('"'));
        setup.work().await;
    }
    let job = setup.ask("POST", submit, &[], "").await.expect(202);
    let result = serde_json::json!({"a": hostile, "b": {hostile: [hostile]}});
    let work = setup.work().await;
    let _ = work.end.send(Ok(Outcome::json(&result).expect("JSON")));
    let url = format!("{}?wait=10", job.header("location"));
    assert_eq!(setup.get(&url).await.expect(200).json()["result"], result);

    let odd = "/v2.5/%22%7B%7Bid%7D%7D?a=%0d%0aSet-Cookie:x&bgrs=1";
    let answer = setup.ask("GET", odd, &[("authorization", "Bearer a")], "").await;
    assert!(answer.status == 200 || answer.status == 400, "{answer:?}");
}
