//! The routes of pages: action, method and path. `service::access` has the roles for them, as for all calls.

use http::Method;

use super::fields;
use crate::service::{Action, Caller};

/// Declares the pages: each with its action, method and path. The use cases behind a page require further actions, for
/// example to show contents or to change many operations.
macro_rules! pages {
    ($($page:ident = $action:ident, $method:ident, $path:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Page { $($page),+ }

        impl Page {
            pub(super) const ALL: &[Self] = &[$(Self::$page),+];

            /// The action, which decides who may request the page.
            pub(super) const fn action(self) -> Action {
                match self { $(Self::$page => Action::$action),+ }
            }

            const fn method(self) -> Method {
                match self { $(Self::$page => Method::$method),+ }
            }

            /// The path, relative to the path of all pages. A placeholder is `*`.
            const fn path(self) -> &'static str {
                match self { $(Self::$page => $path),+ }
            }
        }
    };
}

pages! {
    SignIn = Look, GET, "sign-in";
    TakeKey = Look, POST, "sign-in";
    SignOut = Look, POST, "sign-out";
    Operations = Inspect, GET, "operations";
    LiveOperations = Inspect, GET, "operations/live";
    Operation = Inspect, GET, "operations/*";
    LiveOperation = Inspect, GET, "operations/*/live";
    Input = Read, GET, "operations/*/input";
    Result = Read, GET, "operations/*/result";
    Cancel = Change, POST, "operations/*/cancel";
    RunNow = Change, POST, "operations/*/run-now";
    Retry = Submit, POST, "operations/*/retry";
    Delete = Change, POST, "operations/*/delete";
    Shares = Share, GET, "operations/*/shares";
    CreateShare = Share, POST, "operations/*/shares";
    RevokeShare = Share, POST, "operations/*/shares/*/revoke";
    Kinds = Inspect, GET, "kinds";
    PauseKind = Administer, POST, "kinds/*/pause";
    ResumeKind = Administer, POST, "kinds/*/resume";
    LiveKinds = Inspect, GET, "kinds/live";
    Workers = Inspect, GET, "workers";
    LiveWorkers = Inspect, GET, "workers/live";
    CountMany = Inspect, GET, "bulk";
    ChangeMany = Inspect, POST, "bulk";
    Start = Submit, GET, "start";
    Submit = Submit, POST, "start";
    Webhooks = Administer, GET, "webhooks";
    CreateWebhook = Administer, POST, "webhooks";
    Webhook = Administer, GET, "webhooks/*";
    LiveWebhook = Administer, GET, "webhooks/*/live";
    PauseWebhook = Administer, POST, "webhooks/*/pause";
    ResumeWebhook = Administer, POST, "webhooks/*/resume";
    WebhookSecret = Administer, POST, "webhooks/*/secret";
    RotateWebhook = Administer, POST, "webhooks/*/rotate";
    DeleteWebhook = Administer, POST, "webhooks/*/delete";
    Deliveries = Administer, GET, "deliveries";
    LiveDeliveries = Administer, GET, "deliveries/live";
    Redeliver = Administer, POST, "deliveries/redeliver";
    System = Inspect, GET, "system";
    LiveSystem = Inspect, GET, "system/live";
}

impl Page {
    /// Whether people see it, so that they can sign in for it.
    pub(super) fn is_shown(self) -> bool {
        self.method() == Method::GET && !self.is_stream()
    }

    /// Whether pages of other sites must not even request it, because it takes time, or a watch.
    pub(super) const fn is_costly(self) -> bool {
        self.is_stream() || matches!(self, Self::CountMany)
    }

    pub(super) const fn is_stream(self) -> bool {
        matches!(
            self,
            Self::LiveOperations
                | Self::LiveOperation
                | Self::LiveKinds
                | Self::LiveWorkers
                | Self::LiveWebhook
                | Self::LiveDeliveries
                | Self::LiveSystem
        )
    }

    /// Whether its form may contain an input.
    pub(super) const fn takes_input(self) -> bool {
        matches!(self, Self::Submit)
    }
}

/// The page to which a client's text leads, if it leads to one that people see, and to nothing else.
pub(super) fn shown(text: &str) -> Option<Page> {
    let path = text.split('?').next().unwrap_or_default();
    let page = find(&Method::GET, path).ok().map(|(page, _)| page).filter(|page| page.is_shown());
    page.filter(|_| text.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// The first page that the caller may see, if there is one.
pub(super) fn home(caller: &Caller) -> Option<&'static str> {
    let pages = [Page::Operations, Page::Start];
    pages.into_iter().find(|page| caller.can(page.action())).map(Page::path)
}

/// The page at this path, relative to the path of all pages, with the values of its placeholders; otherwise the methods
/// of the pages at that path, if any.
pub(super) fn find(
    method: &Method,
    path: &str,
) -> Result<(Page, Vec<String>), Option<&'static str>> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let (mut can_get, mut can_post) = (false, false);
    for page in Page::ALL {
        let Some(places) = places(page.path(), path) else { continue };
        if page.method() == *method {
            return Ok((*page, places));
        }
        can_get |= page.method() == Method::GET;
        can_post |= page.method() == Method::POST;
    }
    Err(match (can_get, can_post) {
        (false, false) => None,
        (true, false) => Some("GET, HEAD"),
        (false, true) => Some("POST"),
        (true, true) => Some("GET, HEAD, POST"),
    })
}

fn places(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut parts, mut places) = (path.split('/'), Vec::new());
    for part in pattern.split('/') {
        match parts.next()? {
            given if part == "*" => places.push(fields::segment(given)),
            given if given == part => {}
            _ => return None,
        }
    }
    parts.next().is_none().then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_and_changes_are_no_gets() {
        for page in Page::ALL {
            let is_look = page.method() == Method::GET || page.action() != Action::Inspect;
            assert!(is_look || *page == Page::ChangeMany, "{page:?}");
            let path = page.path().replace('*', "a%20b");
            let (found, places) = find(&page.method(), &path).unwrap();
            assert_eq!(found, *page);
            assert!(places.iter().all(|place| place == "a b"));
        }
        assert_eq!(find(&Method::GET, "operations/live/x"), Err(None));
        assert_eq!(find(&Method::POST, "operations"), Err(Some("GET, HEAD")));
    }
}
