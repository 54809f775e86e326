//! A request as pages see it: caller, target, and links.

use std::sync::Arc;

use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;

use super::fields::Fields;
use super::{Pages, Shared, assets, cookie, may};
use crate::http::Links;
use crate::service::{
    Action, Caller, Document, ListParameters, Page, Service, ServiceError, View, Violations,
};
use crate::wire::size;

/// What codes of forms are made for.
const PURPOSE: &str = "forms of pages";

/// A request for a page, but for its body.
#[derive(Debug)]
pub(super) struct Visit {
    shared: Arc<Shared>,
    pub(super) caller: Caller,
    pub(super) parts: Parts,
    /// What stands in the places of the path.
    pub(super) places: Vec<String>,
    pub(super) query: Fields,
    /// What a change says.
    pub(super) form: Fields,
}

/// What all pages have in common.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    title: String,
    /// The section that it belongs to.
    section: &'static str,
    /// Leads from here to where the pages begin.
    root: String,
    /// Proves that a form was made here, for this caller.
    token: String,
    tenant: String,
    subject: Option<String>,
    /// Whether there is something to sign out of.
    is_signed_in: bool,
    can_submit: bool,
    can_change: bool,
    can_read: bool,
    can_administer: bool,
    style: String,
    script: String,
    version: &'static str,
}

/// A page with its frame.
#[derive(Debug, Serialize)]
struct Framed<'a, T> {
    page: &'a Frame,
    view: T,
}

/// A view with its frame, as templates see them.
pub(super) fn framed<'a>(page: &'a Frame, view: impl Serialize + 'a) -> impl Serialize + 'a {
    Framed { page, view }
}

impl Frame {
    /// A visit by a caller with every role.
    #[cfg(test)]
    pub(super) fn sample() -> Self {
        Self {
            title: "a".to_owned(),
            section: "operations",
            root: "../".to_owned(),
            token: "0".to_owned(),
            tenant: "acme".to_owned(),
            subject: Some("me".to_owned()),
            is_signed_in: true,
            can_submit: true,
            can_change: true,
            can_read: true,
            can_administer: true,
            style: assets::style(),
            script: assets::script(),
            version: "0",
        }
    }

    /// The same for a page from which the beginning of all pages is there.
    pub(super) fn at(self, root: &str) -> Self {
        Self { root: root.to_owned(), ..self }
    }
}

impl Visit {
    pub(super) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        parts: Parts,
        places: Vec<String>,
    ) -> Self {
        let query = Fields::parse(parts.uri.query().unwrap_or_default());
        Self { shared, caller, parts, places, query, form: Fields::default() }
    }

    /// A page of the caller's operations, for a view that is made of it: it is not sent as it is.
    pub(super) async fn list(
        &self,
        parameters: ListParameters<'_>,
    ) -> Result<Page<Document>, ServiceError> {
        let mut found = Violations::default();
        let request = parameters.read(&self.caller, &mut found);
        let request = found.settle(request)?.unsent();
        self.service().list(&self.caller, request, View::Basic, size::operation).await
    }

    /// The same with what a change says.
    pub(super) fn with(self, form: Fields) -> Self {
        Self { form, ..self }
    }

    pub(super) fn service(&self) -> &Service {
        &self.shared.service
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Where the API begins, for those who leave the browser.
    pub(super) fn base(&self) -> String {
        let links = Links::new(self.shared.options.public_url.as_deref(), &self.parts);
        links.base().to_owned()
    }

    /// The frame of a page.
    pub(super) fn frame(&self, title: impl Into<String>, section: &'static str) -> Frame {
        Frame {
            title: title.into(),
            section,
            root: root(&self.parts),
            token: self.token(),
            tenant: self.caller.tenant.to_string(),
            subject: self.caller.subject().map(str::to_owned),
            is_signed_in: cookie::is_signed_in(&self.parts),
            can_submit: may(self, Action::Submit),
            can_change: may(self, Action::Change),
            can_read: may(self, Action::Read),
            can_administer: may(self, Action::Administer),
            style: assets::style(),
            script: assets::script(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// A page as an answer.
    pub(super) fn show(
        &self,
        status: StatusCode,
        template: &str,
        page: &Frame,
        view: impl Serialize,
    ) -> Result<Response, ServiceError> {
        let html = self.shared.templates.render(template, framed(page, view))?;
        Ok((status, Html(html)).into_response())
    }

    /// A part of a page, which its stream sends.
    pub(super) fn part(
        &self,
        template: &str,
        page: &Frame,
        view: impl Serialize,
    ) -> Result<String, ServiceError> {
        self.shared.templates.render(template, framed(page, view))
    }

    /// What a form says to prove that this server made it for this caller.
    fn token(&self) -> String {
        let code = self.shared.service.secret().code(PURPOSE, &self.who());
        code[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a form with this proof was made for this caller.
    pub(super) fn is_own_form(&self, token: &str) -> bool {
        let pairs = token.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
        let code: Option<Vec<u8>> = pairs.map(|it| u8::from_str_radix(it, 16).ok()).collect();
        let is_code = |code: Vec<u8>| {
            code.len() == 16 && self.shared.service.secret().is_code(&code, PURPOSE, &self.who())
        };
        code.is_some_and(is_code)
    }

    /// Who it is. Those without credentials are all the same.
    fn who(&self) -> [&[u8]; 3] {
        let caller = &self.caller;
        let (subject, credential) = (caller.subject(), caller.credential());
        [caller.tenant.as_str(), subject.unwrap_or_default(), credential.unwrap_or_default()]
            .map(str::as_bytes)
    }
}

/// Leads from the path of a request to where the pages begin.
pub(super) fn root(parts: &Parts) -> String {
    let rest = parts.uri.path().strip_prefix(Pages::PREFIX).unwrap_or_default();
    "../".repeat(rest.matches('/').count().saturating_sub(1))
}
