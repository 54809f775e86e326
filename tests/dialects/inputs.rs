//! Inputs come to workers, and are shown, as they were sent.

use crate::support::Setup;

#[tokio::test]
async fn the_coding_of_an_input_is_kept_with_it() {
    let setup = Setup::five().await;
    let headers = [("content-type", "text/csv"), ("content-encoding", "gzip")];
    for path in ["/api/management-server/fileshares", "/provisioning/things?async=true"] {
        setup.ask("POST", path, &headers, "coded").await.expect(202);
        // The newest first.
        let list = setup.get("/v1/operations?page_size=1").await.expect(200).json();
        let name = list["operations"][0]["name"].as_str().expect("a name").to_owned();
        let input = setup.get(&format!("/v1/{name}/input")).await.expect(200);
        assert_eq!((input.header("content-encoding"), &input.body[..]), ("gzip", &b"coded"[..]));
        assert_eq!(input.header("content-type"), "text/csv");
    }
}
