use std::collections::BTreeSet;

use super::*;
use crate::http::routes;

/// Every `$ref` in the document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere_and_nothing_is_there_in_vain() {
    let document = document("/", &routes::all()).unwrap();
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    let components =
        document["components"].as_object().unwrap().iter().flat_map(|(sort, those)| {
            those.as_object().unwrap().keys().map(move |name| format!("#/components/{sort}/{name}"))
        });
    let there: BTreeSet<String> = components.collect();
    assert_eq!(named.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(there.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_server_is_where_it_is_said_to_be() {
    assert_eq!(
        document("https://lro.example/x", &routes::all()).unwrap()["servers"][0]["url"],
        "https://lro.example/x"
    );
}
