//! The form of a kind whose inputs have a schema.

use serde_json::{Value, json};

use crate::support::Server;

const SCHEMA: &str = r#"{
    "title": "Render", "type": "object", "required": ["sheet", "width"],
    "properties": {
        "sheet": {"type": "string", "title": "Sheet", "pattern": "^[A-Z]"},
        "width": {"type": "integer", "minimum": 1, "default": 800},
        "style": {"enum": ["plain", "<b>relief</b>"]},
        "shade": {"type": "boolean"},
        "box": {"type": "object", "properties": {"north": {"type": "number"}}}
    }
}"#;

#[tokio::test]
async fn the_fields_of_a_form_make_the_input() {
    let server =
        Server::start_with(&[("r.json", SCHEMA)], &["--input-schema", "render=r.json"]).await;
    server.page("/ui/start").await.expect(200).has("start?kind=render").has("name=\"input\"");
    let form = server.page("/ui/start?kind=render").await.expect(200);
    let token = form.token();
    form.has("name=\"input/sheet\" type=\"text\" value=\"\" required")
        .has("name=\"input/width\" type=\"number\" value=\"800\"")
        .has("&lt;b&gt;relief")
        .has("name=\"input/box/north\"")
        .has_not("name=\"input\"");
    // The same kind's input as text.
    server.page("/ui/start?kind=render&as=json").await.expect(200).has("name=\"input\"");

    let whole = |fields: &[(&'static str, &'static str)]| {
        let mut whole = vec![("as", "fields"), ("kind", "render")];
        whole.extend_from_slice(fields);
        whole
    };
    let send = async |fields: &[(&'static str, &'static str)]| {
        let mut fields = whole(fields);
        fields.push(("token", &token));
        server.send("/ui/start", &fields, "").await
    };
    let wrong = send(&[("input/sheet", ""), ("input/width", "0"), ("input/style", "x")]).await;
    wrong
        .expect(400)
        .has("<b>input.sheet</b> must be given")
        .has("<b>input.width</b> must be a whole number, at least 1")
        .has("<b>input.style</b> must be one of")
        .has("value=\"0\"");
    let fields = [("input/sheet", "N12"), ("input/width", "9"), ("input/box/north", "1.5")];
    let made = send(&fields).await.expect(303);
    let id = made.header("location").rsplit('/').next().unwrap().to_owned();
    let input = server.ask("GET", &format!("/v1/operations/{id}/input"), &[], "").await.expect(200);
    let input: Value = serde_json::from_str(&input.body).unwrap();
    assert_eq!(input, json!({"sheet": "N12", "width": 9, "box": {"north": 1.5}}));

    // One like it has the same fields; an input that the form cannot make is text.
    let again = server.page(&format!("/ui/start?from={id}")).await.expect(200);
    again.has("name=\"input/width\" type=\"number\" value=\"9\"");
    let other = json!({"kind": "render", "input": {"json": {"sheet": "N12", "depth": 1}}});
    let other = server.submit("", other).await;
    let text = server.page(&format!("/ui/start?from={other}")).await.expect(200);
    text.has("name=\"input\"").has("depth");
}

#[tokio::test]
async fn a_schema_that_makes_no_form_stops_the_start() {
    for (text, told) in [
        ("{}", "--input-schema a=r.json must describe an object"),
        ("[", "--input-schema a=r.json is not JSON"),
    ] {
        let refused = Server::refused(&[("r.json", text)], &["--input-schema", "a=r.json"]).await;
        assert!(refused.contains(told), "{refused}");
    }
    let refused = Server::refused(&[], &["--input-schema", "a=none.json"]).await;
    assert!(refused.contains("--input-schema a=none.json cannot be read"), "{refused}");
}
