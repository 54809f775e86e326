//! Routes of a dialect's file.

use toml::Spanned;

use super::super::list::List;
use super::super::template::{Form, Template};
use super::super::variables::{Link, Topic};
use super::super::{Action, FileError, Route, Target, near};
use super::tables::{ListTable, RouteTable};
use super::{Kind, Known, Reader};
use crate::operation::StateName;

const ACTIONS: [(&str, Action); 5] = [
    ("read", Action::Read),
    ("cancel", Action::Cancel),
    ("delete", Action::Delete),
    ("dismiss", Action::Dismiss),
    ("retry", Action::Retry),
];

/// The default maximum number of operations on a page.
const MAX_PAGE_SIZE: i32 = 100;

impl Reader<'_> {
    pub(super) fn routes(
        &mut self,
        tables: &[Spanned<RouteTable>],
        states: &[(StateName, Template)],
        links: &[Link<'_>],
    ) -> Result<Vec<Route>, FileError> {
        let mut routes: Vec<Route> = Vec::new();
        for table in tables {
            let at = table.span().start;
            self.lines.routes.push(at);
            let route = self.route(table, states, links)?;
            for earlier in &routes {
                let (method, path) = (&route.method, &route.path);
                let reason = match () {
                    () if earlier.name == route.name => {
                        format!("the name {} is given twice", route.name)
                    }
                    () if earlier.method == *method && earlier.path.meets(path) => {
                        format!("{method} {path} is also the route {}", earlier.name)
                    }
                    () => continue,
                };
                return self.wrong(at, reason);
            }
            routes.push(route);
        }
        Ok(routes)
    }

    fn route(
        &mut self,
        table: &Spanned<RouteTable>,
        states: &[(StateName, Template)],
        links: &[Link<'_>],
    ) -> Result<Route, FileError> {
        let (at, table) = (table.span().start, table.as_ref());
        let name = table.name.as_ref();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let is_name = !name.is_empty() && name.bytes().all(plain);
        if !is_name || name == "self" || name == "base" {
            let rule = "name must be lower-case letters and '_', and neither self nor base";
            return self.wrong(table.name.span().start, rule);
        }
        let method = self.method(table.method.as_ref())?;
        let path = self.pattern("path", &table.path)?;
        let target = self.target(table, path.has("id"), links)?;
        let action = match target {
            Target::Operation(action) => Some(action),
            Target::Mount | Target::List(_) => None,
        };
        if method == http::Method::GET && action.is_some_and(|action| action != Action::Read) {
            return self.wrong(at, "a route with an action must have a method other than GET");
        }
        let topic = Topic::of(&target);
        let known = |variable: &str| topic.check(variable, links);
        let answers = self.answers(&table.answer, &known, Kind::Route(action))?;
        let states = if action.is_some() || topic == Topic::List { states } else { &[] };
        let needs = self.needs(topic, &answers, states);
        Ok(Route { name: name.clone(), method, path, target, needs, answers })
    }

    fn target(
        &mut self,
        table: &RouteTable,
        has_id: bool,
        links: &[Link<'_>],
    ) -> Result<Target, FileError> {
        match (&table.action, &table.list) {
            (Some(action), _) if !has_id => {
                self.wrong(action.span().start, "action is for routes with {id} in their path")
            }
            (_, Some(list)) if has_id => {
                self.wrong(list.span().start, "list is for routes without {id} in their path")
            }
            (Some(action), _) => {
                let (at, word) = (action.span().start, action.as_ref().as_str());
                match ACTIONS.iter().find(|(name, _)| *name == word) {
                    Some((_, action)) => Ok(Target::Operation(*action)),
                    None => {
                        let near = near::question(word, ACTIONS.map(|(name, _)| name));
                        let rule = "action must be read, cancel, delete, dismiss or retry";
                        self.wrong(at, format!("{rule}, and is {word}{near}"))
                    }
                }
            }
            (None, Some(list)) => {
                let known = |variable: &str| Topic::Mount.check(variable, links);
                self.list(list.as_ref(), &known).map(Target::List)
            }
            (None, None) if has_id => Ok(Target::Operation(Action::Read)),
            (None, None) => Ok(Target::Mount),
        }
    }

    fn list(&mut self, table: &ListTable, known: Known<'_>) -> Result<List, FileError> {
        let max_page_size = match &table.max_page_size {
            None => MAX_PAGE_SIZE,
            Some(given) => match i32::try_from(*given.as_ref()) {
                Ok(size @ 1..=1_000) => size,
                _ => {
                    let rule = "max_page_size must be from 1 to 1000";
                    return self.wrong(given.span().start, rule);
                }
            },
        };
        let mut made = |source: &Option<Spanned<String>>| {
            let template = source.as_ref().map(|it| self.template(Form::Text, it, known));
            template.transpose()
        };
        Ok(List {
            filter: made(&table.filter)?,
            page_size: made(&table.page_size)?,
            page_token: made(&table.page_token)?,
            max_page_size,
        })
    }
}
