//! What a listener within TLS speaks, and with whom.

use std::time::{Duration, Instant};

use longrun::proto::v1::WatchOperationRequest;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Stage, said, work};

#[tokio::test]
async fn openssl_finds_two_versions_of_tls_and_two_of_http() {
    let stage = Stage::new().await;
    for (version, shown) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        for protocol in ["h2", "http/1.1"] {
            let answer = said(&stage.s_client(stage.tls, &[version, "-alpn", protocol]).await);
            assert!(answer.contains(&format!("ALPN protocol: {protocol}")), "{answer}");
            assert!(answer.contains(shown), "{answer}");
            assert!(answer.contains("Verify return code: 0 (ok)"), "{answer}");
        }
    }
    for wrong in [&["-tls1_1"][..], &["-alpn", "smtp"]] {
        let refused = stage.s_client(stage.tls, wrong).await;
        assert!(!refused.status.success(), "{wrong:?}: {}", said(&refused));
    }
    stage.ends().await;
}

#[tokio::test]
async fn links_begin_with_https_where_the_request_came_over_it() {
    let stage = Stage::new().await;
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = stage.curl(&[flag, "-X", "POST"], "/v1/kinds/work/operations").await;
        let answer = said(&answer);
        let (body, status) = answer.rsplit_once('\n').unwrap();
        assert_eq!(status, format!("202 {version}"), "{answer}");
        let body: Value = serde_json::from_str(body).unwrap();
        let location = body["location"].as_str().unwrap();
        assert!(location.starts_with(&format!("{}/v1/operations/", stage.url())), "{location}");
    }
    stage.ends().await;
}

#[tokio::test]
async fn a_watch_goes_on_within_tls_until_the_server_stops() {
    let stage = Stage::new().await;
    let client = stage.builder().connect().await.unwrap();
    let submitted = client.submit(work()).await.unwrap();
    let request = WatchOperationRequest { name: submitted.name, ..Default::default() };
    let mut watch = client.watch(request);
    assert!(watch.next().await.unwrap().is_ok());
    stage.ends().await;
}

#[tokio::test]
async fn plain_http_is_told_so_at_once() {
    let stage = Stage::new().await;
    for request in
        ["GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut socket = TcpStream::connect(stage.tls).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer));
        read.await.expect("it hangs").unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
        assert!(body.contains("https://"), "{answer}");
    }
    stage.ends().await;
}

#[tokio::test]
async fn tls_to_the_plain_port_fails_at_once() {
    let stage = Stage::new().await;
    let began = Instant::now();
    let refused = stage.s_client(stage.plain, &[]).await;
    assert!(!refused.status.success(), "{}", said(&refused));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    stage.ends().await;
}

#[tokio::test]
async fn handshakes_that_do_not_end_give_their_places_back() {
    const PLACES: usize = 4;
    let stage = Stage::with(|config, _| {
        config.connections.header_timeout = Duration::from_millis(300);
        config.connections.max_connections = PLACES;
    })
    .await;
    // Nothing, and the beginning of a record.
    for beginning in [&[][..], &[22, 3, 1, 2, 0, 1]] {
        let mut sockets = Vec::new();
        for _ in 0..PLACES {
            let mut socket = TcpStream::connect(stage.tls).await.unwrap();
            socket.write_all(beginning).await.unwrap();
            sockets.push(socket);
        }
        for mut socket in sockets {
            let mut rest = Vec::new();
            let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest));
            let _ = read.await.expect("a handshake goes on for ever");
        }
    }
    let client = stage.builder().connect_lazy().unwrap();
    client.submit(work()).await.unwrap();
    stage.ends().await;
}

#[tokio::test]
async fn a_name_that_is_not_the_servers_is_refused_over_both_versions_of_http() {
    let stage = Stage::with(|config, _| {
        config.listen.allowed_hosts = vec!["lro.test".to_owned()];
    })
    .await;
    // Asked as a browser does whose name service was made to lead here, and that takes any certificate.
    let at = |name: &str| {
        let port = stage.tls.port();
        (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}/v1/operations"))
    };
    for (name, status) in [("evil.test", "421"), ("lro.test", "200")] {
        for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let (resolve, url) = at(name);
            let mut command = tokio::process::Command::new("curl");
            command.args([
                "-sS",
                "-k",
                flag,
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{http_version}",
            ]);
            command.args(["--resolve", &resolve, &url]);
            let answer = said(&crate::support::output(command).await);
            assert_eq!(answer, format!("{status} {version}"), "{name}");
        }
    }
    stage.ends().await;
}

#[tokio::test]
async fn a_plain_page_of_the_same_host_is_another_site() {
    let stage = Stage::new().await;
    let own = stage.url();
    for (origin, status) in [(own.clone(), "202"), (own.replace("https", "http"), "403")] {
        for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let origin = format!("Origin: {origin}");
            let arguments = [flag, "-X", "POST", "-H", &origin];
            let answer = said(&stage.curl(&arguments, "/v1/kinds/work/operations").await);
            assert!(answer.ends_with(&format!("\n{status} {version}")), "{origin}: {answer}");
        }
    }
    stage.ends().await;
}
