//! A request as pages see it: caller, target, and links.

use std::sync::Arc;

use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;

use super::fields::Fields;
use super::region::Region;
use super::{Pages, Shared, assets, cookie, routes};
use crate::http::Links;
use crate::service::{
    Action, Caller, Document, ListParameters, Page, Service, ServiceError, View, Violations,
};
use crate::wire::size;

/// The purpose of forms' codes.
const PURPOSE: &str = "forms of pages";

/// A request for a page, without its body.
#[derive(Debug)]
pub(super) struct Visit {
    shared: Arc<Shared>,
    pub(super) caller: Caller,
    pub(super) parts: Parts,
    /// The values of the path's placeholders.
    pub(super) places: Vec<String>,
    pub(super) query: Fields,
    /// The fields of a change.
    pub(super) form: Fields,
}

/// The common data of all pages.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    title: String,
    /// The section of the page.
    section: &'static str,
    /// The relative path from here to that of all pages.
    root: String,
    /// Proves that this server made a form for this caller.
    token: String,
    tenant: String,
    subject: Option<String>,
    /// The first page that the caller may see, or that of signing in.
    home: &'static str,
    /// Whether the caller can sign out.
    is_signed_in: bool,
    /// Whether there is something to sign in for: callers need credentials.
    can_sign_in: bool,
    can_list: bool,
    can_submit: bool,
    can_change: bool,
    can_read: bool,
    can_share: bool,
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
    /// The frame of a page for a caller, whatever became of its request.
    pub(super) fn of(
        shared: &Shared,
        parts: &Parts,
        caller: &Caller,
        title: String,
        section: &'static str,
    ) -> Self {
        let is_signed_in = cookie::is_signed_in(parts);
        Self {
            title,
            section,
            root: root(parts),
            token: token(shared, caller),
            tenant: caller.tenant.to_string(),
            subject: caller.subject().map(str::to_owned),
            home: routes::home(caller).unwrap_or("sign-in"),
            is_signed_in,
            can_sign_in: !is_signed_in && !shared.is_open(parts),
            can_list: caller.can(Action::List),
            can_submit: caller.can(Action::Submit),
            can_change: caller.can(Action::Change),
            can_read: caller.can(Action::Read),
            can_share: caller.can(Action::Share),
            can_administer: caller.can(Action::Administer),
            style: assets::style(),
            script: assets::script(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

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
            home: "operations",
            is_signed_in: true,
            can_sign_in: false,
            can_list: true,
            can_submit: true,
            can_change: true,
            can_read: true,
            can_share: true,
            can_administer: true,
            style: assets::style(),
            script: assets::script(),
            version: "0",
        }
    }

    /// Sets the relative path to that of all pages.
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

    /// A page of the caller's operations, as data for a view.
    pub(super) async fn list(
        &self,
        parameters: ListParameters<'_>,
    ) -> Result<Page<Document>, ServiceError> {
        let mut found = Violations::default();
        let request = parameters.read(&self.caller, &mut found);
        let request = found.settle(request)?.unsent();
        self.service().list(&self.caller, request, View::Basic, size::operation).await
    }

    /// Adds the fields of a change.
    pub(super) fn with(self, form: Fields) -> Self {
        Self { form, ..self }
    }

    pub(super) fn service(&self) -> &Service {
        &self.shared.service
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The API's base URL, for command lines.
    pub(super) fn base(&self) -> String {
        let links = Links::new(self.shared.options.public_url.as_deref(), &self.parts);
        links.base().to_owned()
    }

    /// The frame of a page.
    pub(super) fn frame(&self, title: impl Into<String>, section: &'static str) -> Frame {
        Frame::of(&self.shared, &self.parts, &self.caller, title.into(), section)
    }

    /// Responds with a page.
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

    /// A region of a page, for its stream.
    pub(super) fn region(
        &self,
        id: &'static str,
        template: &str,
        page: &Frame,
        view: impl Serialize,
    ) -> Result<Region, ServiceError> {
        let html = self.shared.templates.render(template, framed(page, view))?;
        Ok(Region::of(id, &html))
    }

    /// Whether the code in a form was made for this caller.
    pub(super) fn is_own_form(&self, token: &str) -> bool {
        let pairs = token.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
        let code: Option<Vec<u8>> = pairs.map(|it| u8::from_str_radix(it, 16).ok()).collect();
        let is_code = |code: Vec<u8>| {
            code.len() == 16
                && self.shared.service.secret().is_code(&code, PURPOSE, &who(&self.caller))
        };
        code.is_some_and(is_code)
    }
}

/// The code in a form that proves that this server made it for this caller.
fn token(shared: &Shared, caller: &Caller) -> String {
    let code = shared.service.secret().code(PURPOSE, &who(caller));
    code[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The caller's identity; the same for all callers without credentials.
fn who(caller: &Caller) -> [&[u8]; 3] {
    let (subject, credential) = (caller.subject(), caller.credential());
    [caller.tenant.as_str(), subject.unwrap_or_default(), credential.unwrap_or_default()]
        .map(str::as_bytes)
}

/// The relative path from a request's path to that of all pages.
pub(super) fn root(parts: &Parts) -> String {
    let rest = parts.uri.path().strip_prefix(Pages::PREFIX).unwrap_or_default();
    "../".repeat(rest.matches('/').count().saturating_sub(1))
}
