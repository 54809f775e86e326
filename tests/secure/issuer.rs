//! An issuer of tokens: keys that it makes, a set of keys that it serves, and tokens good and bad.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream::unfold;
use http::StatusCode;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub const ISSUER: &str = "https://id.example.com/realm";
pub const AUDIENCE: &str = "longrun";

/// A key of the curve P-256.
pub struct SigningKey {
    pub id: &'static str,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub fn new(id: &'static str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
        Self { id, pair: pair.expect("a key") }
    }

    /// The point, uncompressed.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.public()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y})
    }

    /// A token with these claims, signed.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_under(&json!({"alg": "ES256", "typ": "JWT", "kid": self.id}), claims)
    }

    /// The same with another header.
    pub fn sign_under(&self, header: &Value, claims: &Value) -> String {
        let signed = self.unsigned(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.expect("a signature")))
    }

    /// What of a token is signed.
    pub fn unsigned(&self, header: &Value, claims: &Value) -> String {
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}", part(header), part(claims))
    }
}

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    i64::try_from(now.as_secs()).expect("a time before the end")
}

/// The claims of a good token.
pub fn claims(tenant: &str, roles: &[&str]) -> Value {
    let roles: Vec<String> = roles.iter().map(|role| format!("longrun:{role}")).collect();
    json!({
        "iss": ISSUER, "aud": ["other", AUDIENCE], "sub": "ada",
        "exp": now() + 600, "iat": now(), "tenant": tenant, "roles": roles,
    })
}

/// What the issuer answers to whoever asks for its keys.
#[derive(Clone, Debug)]
pub enum Served {
    Keys(Value),
    Status(u16),
    Huge,
    /// A redirect.
    Moved,
    /// The beginning of an answer that never ends.
    Drops,
    Nothing,
}

pub struct Issuer {
    pub url: String,
    served: Arc<Mutex<Served>>,
    /// Requests for anything but the keys.
    strayed: Arc<AtomicUsize>,
    _running: JoinSet<()>,
}

impl Issuer {
    pub async fn start(served: Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let served = Arc::new(Mutex::new(served));
        let strayed = Arc::new(AtomicUsize::new(0));
        let router = Router::new().route("/keys", get(keys)).with_state(Arc::clone(&served));
        let counted = Arc::clone(&strayed);
        let router = router.fallback(async move || _ = counted.fetch_add(1, Ordering::SeqCst));
        let mut running = JoinSet::new();
        running.spawn(async move { axum_server(listener, router).await });
        Self { url, served, strayed, _running: running }
    }

    pub async fn of(keys: &[&SigningKey]) -> Self {
        Self::start(Served::of(keys)).await
    }

    pub fn strayed(&self) -> usize {
        self.strayed.load(Ordering::SeqCst)
    }

    pub fn serve(&self, served: Served) {
        *self.served.lock().expect("no panic") = served;
    }
}

impl Served {
    pub fn of(keys: &[&SigningKey]) -> Self {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        Self::Keys(json!({"keys": keys}))
    }
}

async fn keys(State(served): State<Arc<Mutex<Served>>>) -> Response {
    let served = served.lock().expect("no panic").clone();
    match served {
        Served::Keys(keys) => keys.to_string().into_response(),
        Served::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Served::Huge => "x".repeat(4 << 20).into_response(),
        Served::Moved => (StatusCode::FOUND, [("location", "/others")]).into_response(),
        Served::Drops => {
            let drop = async || {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, Infallible>(" "), ()))
            };
            Body::from_stream(unfold((), move |()| drop())).into_response()
        }
        Served::Nothing => std::future::pending().await,
    }
}

async fn axum_server(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}
