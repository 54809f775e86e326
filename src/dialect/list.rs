//! Lists: the operations of a mount that a request selects.

use super::Dialect;
use super::answer::About;
use super::scene::Scene;
use super::template::{Template, TemplateError};

/// How a route lists operations: templates over the request.
#[derive(Clone, Debug)]
pub struct List {
    pub(super) filter: Option<Template>,
    pub(super) page_size: Option<Template>,
    pub(super) page_token: Option<Template>,
    /// The maximum number of operations on a page.
    pub max_page_size: i32,
}

/// The requested page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// A filter; empty: all operations.
    pub filter: String,
    /// A number; empty: the default.
    pub size: String,
    /// Where to begin; empty: at the beginning.
    pub token: String,
}

impl List {
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.filter.iter().chain(&self.page_size).chain(&self.page_token)
    }
}

impl Dialect {
    /// The requested page.
    pub fn page(&self, list: &List, scene: &Scene<'_>) -> Result<Page, TemplateError> {
        let view = self.view(scene, About::Mount)?.value();
        let made = |template: &Option<Template>| match template {
            Some(template) => {
                self.templates.render(template, &view).map(|text| text.trim().to_owned())
            }
            None => Ok(String::new()),
        };
        Ok(Page {
            filter: made(&list.filter)?,
            size: made(&list.page_size)?,
            token: made(&list.page_token)?,
        })
    }
}
