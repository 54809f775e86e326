//! Tokens of an issuer: which are taken, and what becomes of the others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::{GetOperationRequest, SubmitRequest};
use ring::hmac;
use serde_json::{Value, json};
use tonic::Code;

use crate::issuer::{Issuer, Served, SigningKey, claims, now};
use crate::support::{Guarded, soon, with};

#[tokio::test]
async fn a_good_token_is_its_tenants_and_does_what_its_roles_say() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let mut client = OperationsClient::new(server.channel());
    let submitter = key.sign(&claims("a", &["submit"]));
    let reader = key.sign(&claims("a", &["read"]));
    let new = || SubmitRequest { kind: "demo".to_owned(), ..SubmitRequest::default() };
    let submitted = soon(client.submit(with(new(), &submitter))).await.expect("it is stored");
    let name = submitted.into_inner().name;
    let get = || GetOperationRequest { name: name.clone(), ..GetOperationRequest::default() };
    soon(client.get_operation(with(get(), &reader))).await.expect("it is there");
    let refused = soon(client.submit(with(new(), &reader))).await.expect_err("no such role");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let refused = soon(client.get_operation(with(get(), &submitter))).await.expect_err("no role");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("read"), "{refused}");
    let other = key.sign(&claims("b", &["read", "admin"]));
    let hidden = soon(client.get_operation(with(get(), &other))).await.expect_err("another's");
    assert_eq!(hidden.code(), Code::NotFound, "{hidden}");
    let nobody = soon(client.get_operation(get())).await.expect_err("no credentials");
    assert_eq!(nobody.code(), Code::Unauthenticated, "{nobody}");
    let path = format!("/v1/{name}");
    assert_eq!(server.status(&path, &reader).await, 202);
    assert_eq!(server.status(&path, &submitter).await, 403);
    assert_eq!(server.status(&path, &other).await, 404);
    let answer = soon(server.request("GET", &path).send()).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 401);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    for open in ["/livez", "/readyz", "/openapi.json"] {
        let answer = soon(server.request("GET", open).send()).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{open}");
    }
    server.end().await;
}

fn changed(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().expect("claims").remove(name);
    claims
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused_and_nothing_of_them_is_repeated() {
    let (key, stranger) = (SigningKey::new("one"), SigningKey::new("one"));
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let good = claims("a", &["read"]);
    let signed = |name: &str, value: Value| key.sign(&changed(good.clone(), name, value));
    let hmac_token = {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "one"});
        let text = key.unsigned(&header, &good);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.public());
        let tag = hmac::sign(&secret, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let none = |alg: &str| format!("{}.", key.unsigned(&json!({"alg": alg, "kid": "one"}), &good));
    let whole = key.sign(&good);
    let (head, signature) = whole.rsplit_once('.').expect("a token");
    let (_, others_claims) = (head, key.sign(&claims("b", &["admin"])));
    let swapped = format!("{}.{signature}", others_claims.rsplit_once('.').expect("a token").0);
    let cases = [
        ("expired", signed("exp", json!(now() - 120))),
        ("never expires", key.sign(&without(good.clone(), "exp"))),
        ("expires as a text", signed("exp", json!("soon"))),
        ("not good yet", signed("nbf", json!(now() + 120))),
        ("another audience", signed("aud", json!("other"))),
        ("no audience", key.sign(&without(good.clone(), "aud"))),
        ("another issuer", signed("iss", json!("https://evil.example"))),
        ("no issuer", key.sign(&without(good.clone(), "iss"))),
        ("no tenant", key.sign(&without(good.clone(), "tenant"))),
        ("an impossible tenant", signed("tenant", json!("a/operations"))),
        ("somebody else's signature", stranger.sign(&good)),
        ("another's claims", swapped),
        ("unsigned", none("none")),
        ("unsigned, in capitals", none("None")),
        ("a public key as a secret", hmac_token),
        ("no token", "a.b.c".to_owned()),
        ("something else", "opaque".to_owned()),
        ("another key's id", key.sign_under(&json!({"alg": "ES256", "kid": "two"}), &good)),
        ("another algorithm than its key's", {
            key.sign_under(&json!({"alg": "ES384", "kid": "one"}), &good)
        }),
        ("what must be understood and is not", {
            let header = json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false});
            key.sign_under(&header, &good)
        }),
        ("a key of its own", {
            let header = json!({"alg": "ES256", "kid": "one", "jwk": stranger.jwk()});
            format!("{}.{signature}", stranger.unsigned(&header, &good))
        }),
    ];
    for (what, token) in cases {
        let request = server.request("GET", "/v1/operations").bearer_auth(&token);
        let answer = soon(request.send()).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 401, "{what}");
        let body = soon(answer.text()).await.expect("a body");
        assert!(!body.contains(&token) && body.contains("UNAUTHENTICATED"), "{what}: {body}");
    }
    assert_eq!(server.status("/v1/operations", &whole).await, 200);
    let twice = server.request("GET", "/v1/operations").bearer_auth(&whole).bearer_auth(&whole);
    assert_eq!(soon(twice.send()).await.expect("an answer").status().as_u16(), 401);
    let basic = server.request("GET", "/v1/operations").basic_auth("a", Some("b"));
    assert_eq!(soon(basic.send()).await.expect("an answer").status().as_u16(), 401);
    server.end().await;
}

#[tokio::test]
async fn keys_rotate_and_an_issuer_that_is_away_lets_nobody_in_and_keeps_nobody_out() {
    let (first, second) = (SigningKey::new("one"), SigningKey::new("two"));
    let issuer = Issuer::start(Served::Status(503)).await;
    let server = Guarded::start(&issuer.url).await;
    let token = first.sign(&claims("a", &["read"]));
    // Asked at once, so that the answer of the next reading is waited for.
    let early = tokio::join!(server.status("/v1/operations", &token), async {
        issuer.serve(Served::Huge);
    });
    assert_eq!(early.0, 503, "no keys are known yet");
    issuer.serve(Served::of(&[&first]));
    assert_eq!(server.status("/v1/operations", &token).await, 200);
    let rotated = second.sign(&claims("a", &["read"]));
    issuer.serve(Served::of(&[&first, &second]));
    assert_eq!(server.status("/v1/operations", &rotated).await, 200, "the new key was looked for");
    issuer.serve(Served::Nothing);
    let unknown = SigningKey::new("three").sign(&claims("a", &["read"]));
    assert_eq!(server.status("/v1/operations", &unknown).await, 401);
    assert_eq!(server.status("/v1/operations", &token).await, 200, "known keys stay good");
    server.end().await;
}

#[tokio::test]
async fn an_issuer_that_answers_strangely_lets_nobody_in_until_it_answers_well() {
    let key = SigningKey::new("one");
    let token = key.sign(&claims("a", &["read"]));
    let strange = [
        Served::Status(500),
        Served::Huge,
        Served::Moved,
        Served::Drops,
        Served::Keys(json!("no set")),
        Served::Keys(json!({"keys": []})),
        Served::Keys(json!({"keys": [{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}, 7]})),
    ];
    let tries = strange.map(async |served| {
        let about = format!("{served:?}");
        let issuer = Issuer::start(served).await;
        let server = Guarded::start(&issuer.url).await;
        assert_eq!(server.status("/v1/operations", &token).await, 503, "{about}");
        assert_eq!(server.status("/livez", &token).await, 200, "{about}");
        issuer.serve(Served::of(&[&key]));
        soon(async { while server.status("/v1/operations", &token).await != 200 {} }).await;
        assert_eq!(issuer.strayed(), 0, "{about}");
        server.end().await;
    });
    futures_util::future::join_all(tries).await;
}

#[tokio::test]
async fn a_token_without_a_subject_submits_nothing_where_operations_are_their_submitters() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start_with(&issuer.url, |config| {
        config.callers.private_operations = true;
    })
    .await;
    let of = |roles: &[&str]| key.sign(&without(claims("a", roles), "sub"));
    let (nameless, admin) = (of(&["submit", "read"]), of(&["admin"]));
    let ada = key.sign(&claims("a", &["submit", "read"]));
    let mut client = OperationsClient::new(server.channel());
    let new = || SubmitRequest { kind: "demo".to_owned(), ..SubmitRequest::default() };
    let submitted = soon(client.submit(with(new(), &ada))).await.expect("it is stored");
    let path = format!("/v1/{}", submitted.into_inner().name);
    for token in [&nameless, &admin] {
        let refused = soon(client.submit(with(new(), token))).await.expect_err("no subject");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(refused.message().contains("subject"), "{refused}");
        for to in
            ["/v1/operations", "/v1/batches", "/v1/kinds/demo/operations", &format!("{path}:retry")]
        {
            let request = server.request("POST", to).bearer_auth(token);
            let request = request.header("content-type", "application/json").body("{}");
            assert_eq!(soon(request.send()).await.expect("an answer").status(), 403, "{to}");
        }
    }
    let count = async |token: &str| {
        let request = server.request("GET", "/v1/operations").bearer_auth(token);
        let answer = soon(request.send()).await.expect("an answer");
        let listed = soon(answer.text()).await.expect("a body");
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        listed["operations"].as_array().expect("a list").len()
    };
    for (token, status, listed) in [(&ada, 202, 1), (&nameless, 404, 0), (&admin, 202, 1)] {
        assert_eq!((server.status(&path, token).await, count(token).await), (status, listed));
    }
    // Its roles permit all else.
    let request = server.request("POST", &format!("{path}:cancel")).bearer_auth(&nameless);
    assert_eq!(soon(request.send()).await.expect("an answer").status(), 404);
    let request = server.request("POST", &format!("{path}:cancel")).bearer_auth(&admin);
    assert_eq!(soon(request.send()).await.expect("an answer").status(), 200);
    server.end().await;
}
