//! `/livez` and `/readyz`.

use crate::support::Server;

#[tokio::test]
async fn a_server_is_alive_and_takes_work() {
    let server = Server::start().await;
    for path in ["/livez", "/readyz"] {
        let answer = server.get(path).await.expect(200);
        assert_eq!((&answer.body[..], answer.header("cache-control")), (&b"ok\n"[..], "no-store"));
        assert_eq!(server.ask("HEAD", path, &[], "").await.expect(200).body, "");
        let refused = server.ask("POST", path, &[], "").await;
        refused.problem(405, "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn a_server_that_stops_is_alive_and_takes_no_work() {
    let server = Server::start().await;
    server.closing.cancel();
    server.get("/livez").await.expect(200);
    let answer = server.get("/readyz").await;
    assert_eq!(answer.header("retry-after"), "1");
    let problem = answer.problem(503, "UNAVAILABLE");
    assert_eq!(problem["detail"], "the server is stopping");
}
