//! Paths for submissions to workers, each with the kind of its operations.

use http::Method;
use serde::Deserialize;
use toml::Spanned;

use super::Refused;
use crate::config::handler::handled_kind;
use crate::dialect::{Pattern, Places, near, path};
use crate::operation::Kind;

/// A path for submissions.
#[derive(Clone, Debug, PartialEq)]
pub struct Submit {
    /// The method.
    pub method: Method,
    /// The full path.
    pub path: Pattern,
    /// The kind of the operations.
    pub kind: KindOf,
}

/// The kind of a path's operations.
#[derive(Clone, Debug, PartialEq)]
pub enum KindOf {
    /// One kind for all.
    One(Kind),
    /// Made of the path's placeholders.
    Made {
        /// The kind, with placeholders in braces.
        template: String,
        /// The known kinds; empty: any.
        known: Vec<Kind>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitTable {
    method: Option<Spanned<String>>,
    path: Spanned<String>,
    kind: Spanned<String>,
    #[serde(default)]
    kinds: Vec<Spanned<String>>,
}

impl Submit {
    pub(super) fn of(table: Spanned<SubmitTable>, prefix: &Pattern) -> Result<Self, Refused> {
        let SubmitTable { method, path, kind, kinds } = table.into_inner();
        let method = match method {
            Some(given) => match given.as_ref().parse() {
                Ok(
                    method @ (Method::GET
                    | Method::POST
                    | Method::PUT
                    | Method::PATCH
                    | Method::DELETE),
                ) => method,
                _ => {
                    let rule = "method must be GET, POST, PUT, PATCH or DELETE";
                    return Err((given.span().start, rule.to_owned()));
                }
            },
            None => Method::POST,
        };
        let at = path.span().start;
        let own = Pattern::parse(path.as_ref()).filter(|path| !path.has("id"));
        let path = own
            .ok_or_else(|| format!("path must be {}, and no name in it may be {{id}}", path::RULE));
        let path = path.and_then(|path| {
            path.under(prefix).ok_or_else(|| "path must not have a name that prefix has".to_owned())
        });
        let path = path.map_err(|rule| (at, rule))?;
        let kind = KindOf::of(&kind, &kinds, &path)?;
        Ok(Self { method, path, kind })
    }
}

impl KindOf {
    fn of(
        given: &Spanned<String>,
        known: &[Spanned<String>],
        path: &Pattern,
    ) -> Result<Self, Refused> {
        let (at, text) = (given.span().start, given.as_ref());
        // A letter is valid in any part of a kind, so any other error is in the file.
        let Some(sample) = fill(text, |name| path.has(name).then_some("a")) else {
            let names = text.split('{').skip(1).filter_map(|it| it.split('}').next());
            let unknown = names.into_iter().find(|name| !path.has(name)).unwrap_or_default();
            let near = near::question(unknown, path.places());
            return Err((
                at,
                format!("kind may have in braces only the names that prefix and path have{near}"),
            ));
        };
        let sample = handled_kind(&sample).map_err(|error| (at, format!("kind {error}")))?;
        let is_made = text.contains('{');
        if let Some(first) = known.first().filter(|_| !is_made) {
            let rule = "kinds is for a kind with names in braces";
            return Err((first.span().start, rule.to_owned()));
        }
        let known = known.iter().map(|kind| {
            let refused = |error: String| (kind.span().start, format!("a kind {error}"));
            handled_kind(kind.as_ref()).map_err(refused)
        });
        let known = known.collect::<Result<_, _>>()?;
        Ok(if is_made { Self::Made { template: text.clone(), known } } else { Self::One(sample) })
    }

    /// The kind for these values of placeholders, if it is valid.
    pub fn at(&self, places: &Places) -> Option<Kind> {
        match self {
            Self::One(kind) => Some(kind.clone()),
            Self::Made { template, known } => {
                let value = |name: &str| places.get(name).map(String::as_str);
                let kind = handled_kind(&fill(template, value)?).ok()?;
                (known.is_empty() || known.contains(&kind)).then_some(kind)
            }
        }
    }

    /// The kinds that are known in advance.
    pub fn known(&self) -> &[Kind] {
        match self {
            Self::One(kind) => std::slice::from_ref(kind),
            Self::Made { known, .. } => known,
        }
    }
}

/// The text with values in its placeholders; `None` if one has no value.
fn fill<'v>(text: &str, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
    let mut pieces = text.split('{');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, behind) = piece.split_once('}')?;
        filled.push_str(value(name)?);
        filled.push_str(behind);
    }
    Some(filled)
}
