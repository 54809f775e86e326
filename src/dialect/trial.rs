//! The variables of templates during trials at start: the same, but an impossible name is an error, also in macros and
//! loops, where the template's text does not show to what a name belongs.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Enumerator, Object, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::near;
use super::variables::Shape;

/// The names of the dialect's routes, which are the members of `links`.
pub(super) type Routes = Arc<[String]>;

/// A value with members whose possible names are known.
struct Guarded {
    members: DynObject,
    shape: Shape,
    routes: Routes,
}

/// Wraps the value so that impossible names are errors.
pub(super) fn guarded(value: Value, shape: Shape, routes: &Routes) -> Value {
    let items = |of: Shape| {
        let items = value.try_iter().into_iter().flatten();
        Value::from_iter(items.map(|item| guarded(item, of, routes)))
    };
    match shape {
        Shape::Plain | Shape::Open => value,
        Shape::Many(names) if value.kind() == ValueKind::Seq => items(Shape::One(names)),
        Shape::Operations if value.kind() == ValueKind::Seq => items(Shape::Operation),
        Shape::Many(_) | Shape::Operations => value,
        Shape::One(_) | Shape::Operation | Shape::Links => match value.as_object() {
            Some(members) if value.kind() == ValueKind::Map => {
                let (members, routes) = (members.clone(), Arc::clone(routes));
                Value::from_object(Guarded { members, shape, routes })
            }
            _ => value,
        },
    }
}

impl Object for Guarded {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let Some(name) = key.as_str() else { return self.members.get_value(key) };
        let links: Vec<&str> = self.routes.iter().map(String::as_str).collect();
        match self.shape.member(name, &links) {
            Ok(shape) => {
                let member = self.members.get_value(key)?;
                Some(guarded(member, shape, &self.routes))
            }
            Err(known) => {
                let near = near::question(name, known);
                let reason = format!("there is no variable {name} here{near}");
                Some(Error::new(ErrorKind::UndefinedError, reason).into())
            }
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.members.enumerate()
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.members, f)
    }
}
