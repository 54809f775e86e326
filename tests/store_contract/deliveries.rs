//! What is to be sent to receivers of webhooks. The model keeps none of it.

use bytes::Bytes;
use longrun::operation::{OperationId, TenantId, Timestamp};
use longrun::store::Store;
use longrun::store::deliveries::{
    Delivery, DeliveryChange, DeliveryQuery, DeliveryState, ForgetDeliveries,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_000_000 + seconds, 0).unwrap()
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn new(id: u8, whose: &str, endpoint: &str, due: i64) -> Delivery {
    Delivery {
        number: 0,
        id: [id; 16],
        tenant: tenant(whose),
        webhook: endpoint.to_owned(),
        operation: OperationId::from_bytes([id % 3; 16]),
        endpoint: endpoint.to_owned(),
        state: DeliveryState::Pending,
        due_at: at(due),
        record: Bytes::from(format!("record {id}")),
        body: Bytes::from(vec![id; 300]),
    }
}

fn ids(found: &[Delivery]) -> Vec<u8> {
    found.iter().map(|it| it.id[0]).collect()
}

pub async fn deliveries_are_stored_once_and_told_when_they_are_due(store: &dyn Store) {
    let Some(kept) = store.deliveries() else { return };
    let all = vec![
        new(1, "a", "a/x", 30),
        new(2, "a", "a/x", 10),
        new(3, "a", "a/y", 20),
        new(4, "b", "b/x", 5),
    ];
    kept.put_deliveries(all).await.unwrap();
    // Again, and in another form: it stays as it is.
    kept.put_deliveries(vec![new(2, "a", "a/z", 1), new(5, "a", "a/x", 40)]).await.unwrap();
    let waiting = kept.waiting_endpoints(Vec::new(), 10).await.unwrap();
    let brief: Vec<_> = waiting
        .endpoints
        .iter()
        .map(|it| (it.endpoint.as_str(), it.tenant.as_str(), it.due_at))
        .collect();
    assert_eq!(brief, [("b/x", "b", at(5)), ("a/x", "a", at(10)), ("a/y", "a", at(20))]);
    assert_eq!(waiting.pending, 5);
    // A tenant with many receivers hides none of another.
    let first = async |except: &[&str]| {
        let except = except.iter().map(|name| (*name).to_owned()).collect();
        let waiting = kept.waiting_endpoints(except, 1).await.unwrap();
        assert_eq!(waiting.pending, 5);
        waiting.endpoints.into_iter().map(|it| it.endpoint).collect::<Vec<_>>()
    };
    assert_eq!(first(&[]).await, ["b/x", "a/x"]);
    // Webhooks that are left out hide none, and are pending all the same.
    assert_eq!(first(&["a/x", "c/z"]).await, ["b/x", "a/y"]);
    assert_eq!(first(&["a/x", "a/y", "b/x"]).await, [""; 0]);
    let due = kept.due_deliveries("a/x", at(30), 10).await.unwrap();
    assert_eq!(ids(&due), [2, 1]);
    assert_eq!((due[0].body.len(), &due[0].record[..]), (300, &b"record 2"[..]));
    assert_eq!(ids(&kept.due_deliveries("a/x", at(30), 1).await.unwrap()), [2]);
    assert!(kept.due_deliveries("a/x", at(9), 10).await.unwrap().is_empty());
    kept.postpone_endpoint("a/x", at(35)).await.unwrap();
    assert!(kept.due_deliveries("a/x", at(34), 10).await.unwrap().is_empty());
    assert_eq!(ids(&kept.due_deliveries("a/x", at(40), 10).await.unwrap()), [1, 2, 5]);
    assert_eq!(kept.drop_endpoint("a/x").await.unwrap(), 3);
    assert!(kept.due_deliveries("a/x", at(40), 10).await.unwrap().is_empty());
}

pub async fn what_became_of_deliveries_is_listed_and_forgotten(store: &dyn Store) {
    let Some(kept) = store.deliveries() else { return };
    let all = (1..=6).map(|id| new(id, "a", "a/x", 0)).chain([new(9, "b", "b/x", 0)]);
    kept.put_deliveries(all.collect()).await.unwrap();
    let change = |id: u8, state| DeliveryChange {
        id: [id; 16],
        state,
        due_at: at(100 + i64::from(id)),
        record: Bytes::from_static(b"over"),
    };
    let changes = [1, 2, 3].map(|id| change(id, DeliveryState::Delivered));
    kept.change_deliveries(changes.to_vec()).await.unwrap();
    let others = vec![change(4, DeliveryState::Dead), change(77, DeliveryState::Dead)];
    kept.change_deliveries(others).await.unwrap();
    let list = async |state, before, limit| {
        let (webhook, operation) = (None, None);
        let query = DeliveryQuery { tenant: tenant("a"), state, webhook, operation, before, limit };
        kept.list_deliveries(query).await.unwrap()
    };
    let first = list(None, None, 4).await;
    assert_eq!(ids(&first), [6, 5, 4, 3]);
    assert!(first.iter().all(|it| it.body.is_empty()));
    assert_eq!(ids(&list(None, Some(first[3].number), 4).await), [2, 1]);
    assert_eq!(ids(&list(Some(DeliveryState::Delivered), None, 10).await), [3, 2, 1]);
    let one = kept.delivery(&tenant("a"), [4; 16]).await.unwrap().unwrap();
    assert_eq!(
        (one.state, &one.record[..], one.body.len()),
        (DeliveryState::Dead, &b"over"[..], 300)
    );
    assert!(kept.delivery(&tenant("b"), [4; 16]).await.unwrap().is_none());
    let forget = async |state, before, keep| {
        let forget = ForgetDeliveries { state, before, keep, limit: 100 };
        kept.forget_deliveries(forget).await.unwrap()
    };
    assert_eq!(forget(DeliveryState::Delivered, at(102), 10).await, 1);
    assert_eq!(forget(DeliveryState::Delivered, at(0), 1).await, 1);
    assert_eq!(ids(&list(Some(DeliveryState::Delivered), None, 10).await), [3]);
    assert_eq!(forget(DeliveryState::Pending, at(0), 1).await, 1);
    assert_eq!(ids(&list(Some(DeliveryState::Pending), None, 10).await), [6]);
    let waiting = kept.waiting_endpoints(Vec::new(), 10).await.unwrap();
    assert_eq!((waiting.endpoints.len(), waiting.pending), (2, 2));
}

pub async fn deliveries_are_listed_by_webhook_and_operation_and_read_whole(store: &dyn Store) {
    let Some(kept) = store.deliveries() else { return };
    let receivers = ["a/x", "a/y", "a/x", "a/y", "a/x", "b/x"];
    let all: Vec<Delivery> = receivers
        .iter()
        .zip(1..)
        .map(|(receiver, id)| new(id, &receiver[..1], receiver, id.into()))
        .collect();
    kept.put_deliveries(all.clone()).await.unwrap();
    let dead = DeliveryChange {
        id: [3; 16],
        state: DeliveryState::Dead,
        due_at: at(9),
        record: Bytes::from_static(b"over"),
    };
    kept.change_deliveries(vec![dead]).await.unwrap();
    let list = async |webhook: &str, operation: Option<u8>, state| {
        let query = DeliveryQuery {
            tenant: tenant("a"),
            state,
            webhook: Some(webhook.to_owned()).filter(|it| !it.is_empty()),
            operation: operation.map(|id| OperationId::from_bytes([id; 16])),
            before: None,
            limit: 10,
        };
        ids(&kept.list_deliveries(query).await.unwrap())
    };
    assert_eq!(list("a/x", None, None).await, [5, 3, 1]);
    assert_eq!(list("a/x", None, Some(DeliveryState::Pending)).await, [5, 1]);
    assert_eq!(list("a/z", None, None).await, [0; 0]);
    // Of another tenant.
    assert_eq!(list("b/x", None, None).await, [0; 0]);
    assert_eq!(list("", Some(1), None).await, [4, 1]);
    assert_eq!(list("a/y", Some(1), None).await, [4]);
    assert_eq!(list("", Some(0), Some(DeliveryState::Dead)).await, [3]);
    let first = kept.scan_deliveries(0, 4).await.unwrap();
    let rest = kept.scan_deliveries(first[3].number, 4).await.unwrap();
    for (read, put) in first.iter().chain(&rest).zip(&all) {
        let put = Delivery { number: read.number, ..put.clone() };
        let is_dead = read.id == [3; 16];
        assert!(*read == put || is_dead, "{read:?}");
    }
    assert_eq!((first.len(), rest.len()), (4, 2));
}
