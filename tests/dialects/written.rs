//! What clients, workers and APIs have written comes out as it was written: numbers, queries.

use longrun::worker::Outcome;

use crate::support::Setup;

const STATES: &str = r#"[states]
QUEUED = "a"
RUNNING = "b"
CANCELLING = "c"
SUCCEEDED = "{{ 'large' if result and result.json and result.json.rows and result.json.total > 1 else 'small' }}"
PARTIALLY_SUCCEEDED = "e"
FAILED = "f"
CANCELLED = "g"
[[submit]]
status = 202
headers.Location = "{{ links.job }}"
[[route]]
name = "job"
path = "/jobs/{id}"
"#;

const MOUNT: &str = "[[dialect]]\nfile = \"mine.toml\"\nprefix = \"/mine\"\n\
                     [[dialect.submit]]\npath = \"/jobs\"\nkind = \"k\"\n";

#[tokio::test]
async fn numbers_of_results_come_through_as_they_were_written() {
    let answer = r#"[[route.answer]]
when = "not (result and result.json and result.json.rows)"
status = 202
[[route.answer]]
status = 200
headers.X-Total = "{{ result.json.total }}"
body = '{"status": {{ status }}, "whole": {{ result.json }}, "total": {{ result.json.total }}, "twice": {{ (result.json.total or 0) * 2 }}, "big": {{ result.json.rows[0].id }}}'
"#;
    let file = format!("{STATES}{answer}");
    let setup = Setup::new(MOUNT, &[("mine.toml", &file)]).await;
    let accepted = setup.ask("POST", "/mine/jobs", &[], "").await.expect(202);
    let work = setup.work().await;
    let result = "{\"total\": 1.10,\n \"rows\": [{\"id\": 123456789012345678901234567890, \"z\": 1e400}, -0, 0.10, 1E+2]}";
    let _ = work.end.send(Ok(Outcome::bytes("application/json", result)));
    let wait = [("prefer", "wait=10")];
    let document = setup.ask("GET", accepted.header("location"), &wait, "").await.expect(200);
    let whole = result.replace([' ', '\n'], "");
    let expected = format!(
        "{{\"status\":\"large\",\"whole\":{whole},\"total\":1.10,\"twice\":2.2,\
         \"big\":123456789012345678901234567890}}\n"
    );
    assert_eq!(std::str::from_utf8(&document.body).expect("a text"), expected);
    assert_eq!(document.header("x-total"), "1.10");
}

#[tokio::test]
async fn a_built_in_dialect_writes_numbers_as_they_were_written() {
    let setup = Setup::five().await;
    let submit = "/api/management-server/fileshares";
    let accepted = setup.ask("POST", submit, &[], "").await.expect(202);
    let result = "[123456789012345678901234567890,1.10,1e400,-0]";
    let work = setup.work().await;
    let _ = work.end.send(Ok(Outcome::bytes("application/json", result)));
    let url = format!("{}?wait=10", accepted.header("location"));
    let document = setup.get(&url).await.expect(200);
    let text = std::str::from_utf8(&document.body).expect("a text");
    assert!(text.contains(&format!("\"result\":{result}")), "{text}");
}

#[tokio::test]
async fn a_trigger_is_known_by_what_it_says_and_stays_where_it_was() {
    let setup = Setup::five().await;
    let mine = [("authorization", "Bearer mine")];
    for (query, passed_on, name) in [
        ("a=1&bgrs=yes&b=%20", "?a=1&b=%20", "?a=1&bgrs=yes&b=%20"),
        ("bgrs=%31&z", "?z", "?bgrs=%31&z"),
        ("z&bgrs=y%65s", "?z", "?z&bgrs=y%65s"),
        ("a&&%62grs=1&b+", "?a&&b+", "?a&&%62grs=1&b+"),
        ("bgrs=1", "", "?bgrs=1"),
        ("a&bgrs_share=1&bgrs=1&b", "?a&b", "?a&bgrs=1&b"),
    ] {
        let path = format!("/v2.5/report?{query}");
        let accepted = setup.ask("GET", &path, &mine, "").await.expect(200).json();
        let id = accepted["request"].as_str().unwrap_or_else(|| panic!("{query}: {accepted}"));
        let call = setup.call().await;
        assert_eq!(call.target, format!("/v2.5/report{passed_on}"), "{query}");
        call.answer(200, "text/plain", "x");
        let told = setup.ask("GET", &format!("/bgrs/{id}"), &mine, "").await.expect(200).json();
        assert_eq!(told[0]["name"], format!("/v2.5/report{name}"), "{query}");
    }
}
