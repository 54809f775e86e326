//! Waiting in a dialect's words: held until the operation is done, or is news, and answered at once when it is.

use longrun::worker::Outcome;

use crate::support::{Answer, Setup, soon};

async fn job(setup: &Setup) -> String {
    let job = setup.ask("POST", "/api/management-server/fileshares", &[], "").await.expect(202);
    job.header("location").to_owned()
}

/// Asks, and ends the work while the request is held.
async fn held(setup: &Setup, url: &str, headers: &[(&str, &str)]) -> Answer {
    let work = setup.work().await;
    let started = std::time::Instant::now();
    let asked = setup.ask("GET", url, headers, "");
    let ended = async {
        // While it is held, others are served.
        for _ in 0..3 {
            setup.get("/v1/operations").await.expect(200);
        }
        let _ = work.end.send(Ok(Outcome::empty()));
    };
    let (answer, ()) = soon(async { tokio::join!(asked, ended) }).await;
    assert!(
        started.elapsed() < std::time::Duration::from_secs(15),
        "it woke, and was not timed out"
    );
    answer
}

#[tokio::test]
async fn a_long_poll_returns_when_the_job_ends() {
    let setup = Setup::five().await;
    for (query, headers) in [
        ("?wait=60", &[][..]),
        ("?wait=true", &[]),
        ("?wait=1m", &[]),
        ("", &[("prefer", "wait=60")]),
    ] {
        let url = job(&setup).await;
        let answer = held(&setup, &format!("{url}{query}"), headers).await.expect(200);
        assert_eq!(answer.json()["state"], "NORMAL", "{query}");
        let applied = if headers.is_empty() { "" } else { "wait=60" };
        assert_eq!(answer.header("preference-applied"), applied);
    }
}

#[tokio::test]
async fn a_wait_that_is_over_answers_what_is() {
    let setup = Setup::five().await;
    let url = job(&setup).await;
    let answer = setup.get(&format!("{url}?wait=50ms")).await.expect(200);
    assert_eq!((&answer.json()["state"], answer.header("retry-after")), (&"WARNING".into(), "1"));
    setup.get(&format!("{url}?wait=soon")).await.expect(400);
    setup.get(&format!("{url}?other=1")).await.expect(200);
}

#[tokio::test]
async fn what_the_client_knows_is_not_sent_again() {
    let setup = Setup::five().await;
    let url = job(&setup).await;
    let running = loop {
        let answer = setup.get(&url).await.expect(200);
        if answer.header("etag") == "\"2\"" {
            break answer;
        }
    };
    let known = ("if-none-match", running.header("etag"));
    let same = setup.ask("GET", &url, &[known], "").await.expect(304);
    assert!(same.body.is_empty());
    let news = held(&setup, &url, &[known, ("prefer", "wait=60")]).await.expect(200);
    assert_eq!((&news.json()["state"], news.header("etag")), (&"NORMAL".into(), "\"3\""));
    assert!(!news.headers.contains_key("retry-after"));
}
