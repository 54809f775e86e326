//! Subscriptions of tenants.

use longrun::proto::v1::{CreateWebhookRequest, Delivery, Operation};

use crate::support::{Got, Receiver, Server, verify};

async fn subscribe(
    server: &Server,
    url: &str,
    edit: impl FnOnce(&mut CreateWebhookRequest),
) -> (String, String) {
    let mut request = CreateWebhookRequest { url: url.to_owned(), ..Default::default() };
    edit(&mut request);
    let made = server.client.create_webhook(request).await.unwrap();
    (made.webhook.unwrap().webhook_id, made.secret)
}

async fn finished(server: &Server, kind: &str) -> Operation {
    let operation = server.submit(kind, "").await;
    server.client.wait_on(&operation, None).await.unwrap()
}

fn events(got: &[Got]) -> Vec<String> {
    got.iter().map(|it| it.told().1).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_told_of_what_it_asks_for() {
    let store = tempfile::tempdir().unwrap();
    let server =
        Server::start(store.path(), &["--handler", "shout=cat", "--handler", "no=false"]).await;
    finished(&server, "shout").await;
    let (mut ends, mut all, mut failed) =
        (Receiver::accepting().await, Receiver::accepting().await, Receiver::accepting().await);
    let (_, of_ends) = subscribe(&server, &ends.url, |_| {}).await;
    let (_, of_all) = subscribe(&server, &all.url, |it| {
        it.states = ["QUEUED", "RUNNING", "SUCCEEDED"].map(str::to_owned).to_vec();
        it.filter = "kind = \"shout\"".to_owned();
        it.format = "cloudevents".to_owned();
    })
    .await;
    subscribe(&server, &failed.url, |it| it.states = vec!["FAILED".to_owned()]).await;
    let (good, bad) = (finished(&server, "shout").await, finished(&server, "no").await);
    let got = ends.until(|got| got.len() == 2).await;
    let mut told: Vec<_> = got.iter().map(Got::told).collect();
    told.sort_by_key(|(name, _)| *name != good.name);
    assert_eq!(told[0], (good.name.clone(), "operation.succeeded".to_owned()));
    assert_eq!(told[1], (bad.name.clone(), "operation.failed".to_owned()));
    verify(&of_ends, &got).unwrap();
    assert!(verify(&of_all, &got).is_err());
    let got = all.until(|got| got.len() == 3).await;
    let mut told = events(&got);
    told.sort();
    assert_eq!(told, ["operation.queued", "operation.running", "operation.succeeded"]);
    for said in verify(&of_all, &got).unwrap() {
        assert_eq!(said["subject"], good.name.as_str());
        assert_eq!(said["data"]["name"], good.name.as_str());
    }
    assert_eq!(events(&failed.until(|got| got.len() == 1).await), ["operation.failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_changes_both_sign() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &["--handler", "shout=cat"]).await;
    let mut receiver = Receiver::accepting().await;
    let (id, first) = subscribe(&server, &receiver.url, |_| {}).await;
    let (is_done, second) = server.cli(&["webhook", "rotate", &id]);
    assert!(is_done && second.trim() != first, "{second}");
    assert_eq!(server.cli(&["webhook", "secret", &id]).1, second);
    finished(&server, "shout").await;
    let got = receiver.until(|got| got.len() == 1).await;
    for secret in [&first, second.trim()] {
        verify(secret, &got).unwrap();
    }
    let (is_done, said) = server.cli(&["webhook", "list"]);
    assert!(is_done && said.contains(&id) && !said.contains("whsec_"), "{said}");
    let (is_done, said) = server.cli(&["webhook", "delete", &id]);
    assert!(is_done, "{said}");
    finished(&server, "shout").await;
    assert!(server.cli(&["webhook", "delete", &id]).1.contains("no webhook"));
    assert_eq!(server.deliveries("").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_subscription_is_named() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &[]).await;
    for (args, field) in [
        (["ftp://a/", "--format", "plain"], "url"),
        (["http://10.0.0.1/", "--format", "plain"], "url"),
        (["https://a.example/", "--filter", "kind ="], "filter"),
        (["https://a.example/", "--state", "DONE"], "--state"),
    ] {
        let (is_done, said) = server.cli(&[&["webhook", "create"][..], &args].concat());
        assert!(!is_done && said.contains(field), "{args:?}: {said}");
    }
    let states = vec!["DONE".to_owned()];
    let url = "https://a.example/".to_owned();
    let request = CreateWebhookRequest { url, states, ..Default::default() };
    let refused = server.client.create_webhook(request).await.unwrap_err();
    assert!(refused.message().contains("states must be"), "{refused}");
    let client = &server.client;
    for (refused, field) in [
        (client.delete_webhook("A", "").await, "webhook_id"),
        (client.pause_webhook("A", "").await.map(drop), "webhook_id"),
        (client.webhook_secret("A", "").await.map(drop), "webhook_id"),
        (client.redeliver("A", "").await.map(drop), "delivery_id"),
    ] {
        let refused = refused.unwrap_err();
        let violations = refused.field_violations().iter().map(|it| it.field.as_str());
        assert_eq!(violations.collect::<Vec<_>>(), ["tenant", field], "{refused}");
    }
    let (is_done, said) = server.cli(&["webhook", "delete", "callbacks"]);
    assert!(!is_done && said.contains("pause them instead"), "{said}");
    let (is_done, said) =
        server.cli(&["webhook", "redeliver", "msg_00000000000000000000000000000000"]);
    assert!(!is_done && said.contains("no delivery"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_when_a_delivery_is_tried_next_and_that_there_are_more() {
    let store = tempfile::tempdir().unwrap();
    let flags = ["--handler", "ok=cat", "--webhook-allow", "127.0.0.1"];
    let server = Server::start(store.path(), &flags).await;
    for _ in 0..2 {
        server.submit("ok", "http://127.0.0.1:1/").await;
    }
    let are_tried = |found: &[Delivery]| found.iter().filter(|it| it.attempts > 0).count() == 2;
    server.until("PENDING", are_tried).await;
    let output = server.run(&["webhook", "deliveries", "--limit", "1"]);
    let (said, note) = (String::from_utf8_lossy(&output.stdout), output.stderr);
    let [headings, row] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    let next = headings.find("NEXT").expect("a heading");
    assert!(!row[next..next + 2].trim().is_empty(), "{said}");
    assert!(row.contains("cannot be reached: tcp connect error"), "{said}");
    assert!(String::from_utf8_lossy(&note).contains("there are more: use --limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_named_in_any_case_and_a_pause_by_its_length() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start(store.path(), &[]).await;
    for args in [
        &["create", "https://a.example/", "--state", "running", "--state", "STATE_QUEUED"][..],
        &["pause", "callbacks"],
        &["deliveries", "--state", "pending"],
    ] {
        let (is_done, said) = server.cli(&[&["webhook"][..], args].concat());
        assert!(is_done, "{args:?}: {said}");
    }
    let listed = server.cli(&["webhook", "list"]).1;
    assert!(listed.contains("RUNNING") && listed.contains("QUEUED"), "{listed}");
    let paused = listed.lines().find(|line| line.starts_with("callbacks")).unwrap().trim_end();
    assert!(paused.contains("for ") && !paused.ends_with("ago"), "{listed}");
}
