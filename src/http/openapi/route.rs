//! One method of one resource, and how the document has it.

use serde_json::{Value, json};

use super::answers::Answers;
use super::parameters;
use crate::service::Reason::{HostRefused, InvalidArgument, RouteNotFound, UriTooLong};

/// One method of one resource.
pub(super) struct Route {
    pub(super) path: String,
    pub(super) method: &'static str,
    /// The name of the method for generated clients.
    id: String,
    summary: &'static str,
    parameters: Vec<&'static str>,
    body: Option<Value>,
    answers: Answers,
}

impl Route {
    pub(super) fn new(method: &'static str, path: &str, id: &str, summary: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            method,
            id: id.to_owned(),
            summary,
            parameters: Vec::new(),
            body: None,
            answers: Answers::default(),
        }
    }

    pub(super) fn takes(mut self, parameters: &[&'static str]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    pub(super) fn body(mut self, media_type: &str, schema: &Value, required: bool) -> Self {
        self.body =
            Some(json!({"required": required, "content": {media_type: {"schema": schema}}}));
        self
    }

    pub(super) fn answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    pub(super) fn under_tenant(mut self) -> Self {
        self.path = self.path.replacen("/v1", "/v1/tenants/{tenant}", 1);
        self.id += "OfTenant";
        self.parameters.insert(0, "tenant");
        self
    }

    /// The entry of the document.
    pub(super) fn operation(&self) -> Value {
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": parameters::refer(self.parameters.iter().copied()),
        });
        if let Some(body) = &self.body {
            operation["requestBody"] = body.clone();
        }
        operation["responses"] = self.answers.all();
        operation
    }

    /// The entry for `HEAD`.
    pub(super) fn without_contents(&self) -> Value {
        let mut operation = self.operation();
        operation["operationId"] = format!("headOf{}", capitalised(&self.id)).into();
        operation["summary"] = "As GET, without a body".into();
        operation["responses"] = self.answers.without_contents();
        operation
    }

    /// `OPTIONS` of the resource, which it answers whether it is there or not.
    pub(super) fn options(&self) -> Value {
        let about = "The methods that there are; to a browser's preflight, what its page may do.";
        let answers = Answers::default()
            .cacheable("204", about, &["Allow?", "Cache-Control?"])
            .refused(&[InvalidArgument, UriTooLong, HostRefused, RouteNotFound]);
        let segments = self.path.split(['{', '}']).skip(1).step_by(2);
        let segments: Vec<String> = segments.map(|name| format!("{name}.any")).collect();
        json!({
            "operationId": format!("optionsOf{}", capitalised(&self.id)),
            "summary": "Which methods there are",
            "parameters": parameters::refer(segments.iter().map(String::as_str)),
            "responses": answers.all(),
        })
    }
}

fn capitalised(id: &str) -> String {
    let (first, rest) = id.split_at(1);
    first.to_ascii_uppercase() + rest
}
