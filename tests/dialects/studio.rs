//! A server with two mounts of a dialect that has one of everything.

use longrun::worker::{Failure, Outcome};

use crate::support::{Answer, Setup};

pub const STUDIO: &str = include_str!("studio.toml");

pub const MOUNT: &str = r#"
[[dialect]]
file = "studio.toml"
prefix = "/v1/houses/{house}"

[[dialect.submit]]
path = "/genres/{genre}/films"
kind = "film.{genre}"
kinds = ["film.western", "film.noir"]

[[dialect]]
file = "studio.toml"
name = "annex"
prefix = "/annex/{house}"

[[dialect.submit]]
path = "/films"
kind = "short"
"#;

pub async fn studio() -> Setup {
    Setup::new(MOUNT, &[("studio.toml", STUDIO)]).await
}

pub async fn shoot(setup: &Setup, path: &str, headers: &[(&str, &str)]) -> (String, Answer) {
    let answer = setup.ask("POST", path, headers, r#"{"title": "Rain"}"#).await.expect(201);
    let id = answer.json()["film"].as_str().expect("an id").to_owned();
    (id, answer)
}

/// Ends the work that came first.
pub async fn end(setup: &Setup, id: &str, outcome: Result<Outcome, Failure>) {
    let work = setup.work().await;
    let name = work.context.name().to_owned();
    assert_eq!(name.replace('-', ""), format!("operations/{}", &id["film-".len()..]));
    let _ = work.end.send(outcome);
    setup.get(&format!("/v1/{name}?wait=10")).await;
}
