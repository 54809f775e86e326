//! Pages of other sites.

use crate::support::Server;

const APP: &str = "https://app.example.com";

fn preflight(origin: &str) -> [(&str, &str); 3] {
    [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,idempotency-key"),
    ]
}

#[tokio::test]
async fn pages_of_named_sites_may_call() {
    let server = Server::start_for(&[APP, "http://localhost:3000"]).await;
    for origin in [APP, "http://localhost:3000"] {
        for path in ["/v1/operations", "/v1/kinds/a/operations", "/v1/operations/x:cancel"] {
            let answer = server.ask("OPTIONS", path, &preflight(origin), "").await.expect(204);
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert_eq!(
                answer.header("access-control-allow-methods"),
                "GET, HEAD, POST, PUT, PATCH, DELETE"
            );
            let headers = answer.header("access-control-allow-headers");
            assert_eq!(headers, "content-type,idempotency-key");
            assert_eq!(answer.header("access-control-max-age"), "7200");
            assert_eq!(answer.header("access-control-allow-credentials"), "");
        }
        let headers = [("origin", origin)];
        let accepted =
            server.ask("POST", "/v1/kinds/a/operations", &headers, "x").await.expect(202);
        assert_eq!(accepted.header("access-control-allow-origin"), origin);
        let exposed = accepted.header("access-control-expose-headers");
        for name in ["location", "operation-location", "retry-after", "etag"] {
            assert!(exposed.split(", ").any(|it| it == name), "{name} in {exposed}");
        }
        let vary: Vec<_> = accepted.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["prefer", "origin"]);
        // A page may read why it was refused.
        let refused = server.ask("GET", "/nowhere", &headers, "").await;
        assert_eq!(refused.header("access-control-allow-origin"), origin);
        refused.problem(404, "ROUTE_NOT_FOUND");
    }

    for stranger in ["https://evil.example.com", "https://app.example.com.evil.com", "null", ""] {
        let answer = server.ask("OPTIONS", "/v1/operations", &preflight(stranger), "").await;
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("access-control-allow-methods"), "");
        assert_eq!(answer.expect(204).header("vary"), "origin");
    }
    // OPTIONS of who is no browser means what it always meant.
    let plain = server.ask("OPTIONS", "/v1/operations", &[("origin", APP)], "").await.expect(204);
    assert_eq!(plain.header("allow"), "GET,HEAD,POST,OPTIONS");
}

#[tokio::test]
async fn all_sites_or_none() {
    let open = Server::start_for(&["*"]).await;
    let answer = open.ask("OPTIONS", "/v1/operations", &preflight("https://any.example"), "").await;
    assert_eq!(answer.expect(204).header("access-control-allow-origin"), "*");
    let answer = open.ask("GET", "/v1/operations", &[("origin", "null")], "").await.expect(200);
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("*", ""));

    let closed = Server::start().await;
    for method in ["OPTIONS", "GET"] {
        let answer = closed.ask(method, "/v1/operations", &preflight(APP), "").await;
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing_unasked() {
    let server = Server::start().await;
    for stranger in ["https://evil.example.com", "null", "http://lro.test.evil.com", "not a url"] {
        let headers = [("origin", stranger), ("content-type", "text/plain")];
        let refused = server.ask("POST", "/v1/kinds/a/operations", &headers, "x").await;
        refused.problem(403, "ORIGIN_REFUSED");
    }
    let list = server.get("/v1/operations").await.expect(200).json();
    assert_eq!(list["operations"], serde_json::json!([]));
    // Pages of this very server may, and so may whoever is no browser.
    let own = [("origin", "http://lro.test"), ("host", "lro.test")];
    server.ask("POST", "/v1/kinds/a/operations", &own, "x").await.expect(202);
    server.ask("POST", "/v1/kinds/a/operations", &[], "x").await.expect(202);
}
