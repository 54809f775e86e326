//! Places of paths: what stands in them parts operations, kinds and keys.

use serde_json::json;

use crate::studio::{shoot, studio};

#[tokio::test]
async fn what_stands_in_the_places_of_a_path_parts_operations() {
    let mut setup = studio().await;
    let (id, answer) = shoot(&setup, "/v1/houses/a%20b/genres/noir/films", &[]).await;
    let url = format!("{}/v1/houses/a%20b/films/{id}", setup.url(""));
    assert_eq!(answer.header("location"), url);
    assert_eq!(answer.json()["title"], "Rain");
    for round in 0..2 {
        let film = setup.get(&format!("/v1/houses/a%20b/films/{id}")).await.expect(200).json();
        assert_eq!((&film["house"], &film["genre"]), (&json!("a b"), &json!("noir")));
        // The same text, written otherwise.
        setup.get(&format!("/v1/houses/%61%20b/films/{id}")).await.expect(200);
        let by_genre = format!("/v1/houses/a%20b/genres/noir/films/{id}");
        let of_genre = setup.get(&by_genre).await.expect(200).json();
        assert_eq!(of_genre["self"], setup.url(&by_genre));
        for elsewhere in [
            format!("/v1/houses/b/films/{id}"),
            format!("/v1/houses/a+b/films/{id}"),
            format!("/v1/houses/b/films/{id}/reel"),
            format!("/v1/houses/a%20b/genres/western/films/{id}"),
            format!("/annex/a%20b/films/{id}"),
            format!("/v1/houses/a%20b/films/{}", &id["film-".len()..]),
        ] {
            let refused = setup.get(&elsewhere).await.expect(404).json();
            assert_eq!(refused["trouble"], "OPERATION_NOT_FOUND", "{elsewhere}");
        }
        for (method, path) in [
            ("DELETE", format!("/v1/houses/b/films/{id}")),
            ("POST", format!("/v1/houses/b/films/{id}:stop")),
            ("POST", format!("/v1/houses/b/films/{id}:again")),
        ] {
            setup.ask(method, &path, &[], "").await.expect(404);
        }
        if round == 0 {
            setup.crash().await;
        }
    }
    let long = "x".repeat(257);
    for bad in [long.as_str(), "%ff", "a%00", "a%07"] {
        let path = format!("/v1/houses/{bad}/genres/noir/films");
        setup.ask("POST", &path, &[], "").await.expect(400);
    }
    let most = "x".repeat(256);
    shoot(&setup, &format!("/v1/houses/{most}/genres/noir/films"), &[]).await;
}

#[tokio::test]
async fn a_kind_is_made_of_a_place() {
    let setup = studio().await;
    for (genre, kind) in [("noir", "film.noir"), ("western", "film.western")] {
        let (id, _) = shoot(&setup, &format!("/v1/houses/a/genres/{genre}/films"), &[]).await;
        assert_eq!(setup.work().await.context.kind(), kind, "{id}");
    }
    for genre in ["comedy", "no%20ir", "%7Bgenre%7D", "."] {
        let path = format!("/v1/houses/a/genres/{genre}/films");
        let refused = setup.ask("POST", &path, &[], "").await;
        assert!([400, 404].contains(&refused.status), "{genre}: {refused:?}");
    }
}

#[tokio::test]
async fn a_key_is_the_mounts_own_and_the_places() {
    let setup = studio().await;
    let key = [("idempotency-key", "\"monday\"")];
    let film = async |path: &str| shoot(&setup, path, &key).await.0;
    let first = film("/v1/houses/a/genres/noir/films").await;
    assert_eq!(film("/v1/houses/a/genres/noir/films").await, first);
    let others = [film("/v1/houses/b/genres/noir/films").await, film("/annex/a/films").await];
    assert!(!others.contains(&first) && others[0] != others[1], "{first} {others:?}");
    let path = "/v1/houses/a/genres/western/films";
    setup.ask("POST", path, &key, r#"{"title": "Rain"}"#).await.expect(422);
    // Nor is it that of the service's own API.
    let json = ("content-type", "application/json");
    let body = r#"{"kind": "other"}"#;
    setup.ask("POST", "/v1/operations", &[key[0], json], body).await.expect(202);
}
