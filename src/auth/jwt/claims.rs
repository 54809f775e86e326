//! The meaning of a token's claims: tenant, roles, kinds, subject.

use serde_json::{Map, Value};

use crate::config::tokens::TokenConfig;
use crate::operation::{Kind, TenantId};
use crate::service::{Caller, Role, Roles};

/// The prefixes of a role in a claim, so that another program's role with the same name does not count.
const PREFIXES: [&str; 2] = ["longrun:", "longrun."];

/// The caller that the claims describe; the error names what is missing.
pub(super) fn caller(
    claims: &Map<String, Value>,
    config: &TokenConfig,
) -> Result<Caller, &'static str> {
    let tenant = match find(claims, &config.tenant_claim) {
        Some(Value::String(tenant)) => {
            TenantId::parse(tenant).map_err(|_| "its tenant is not a valid name")?
        }
        Some(_) => return Err("its tenant is not a string"),
        None => config.default_tenant.clone().ok_or("it names no tenant")?,
    };
    let granted = texts(find(claims, &config.roles_claim));
    let roles: Roles = granted.iter().flat_map(|text| roles_of(text, config)).collect();
    let mut caller = Caller::of(tenant, roles);
    if let Some(kinds) = find(claims, &config.kinds_claim) {
        // A name that no kind can have matches nothing.
        let kinds =
            texts(Some(kinds)).iter().filter_map(|kind| Kind::parse(kind).ok()).collect::<Vec<_>>();
        caller = caller.with_kinds(kinds);
    }
    match find(claims, &config.subject_claim) {
        Some(Value::String(subject)) if is_name(subject) => {
            Ok(caller.with_subject(subject.as_str()))
        }
        Some(_) => Err("its subject is not a string of 1 to 255 printable characters"),
        None => Ok(caller),
    }
}

/// Whether the subject can be written in a log.
fn is_name(subject: &str) -> bool {
    (1..=255).contains(&subject.chars().count()) && !subject.chars().any(char::is_control)
}

fn roles_of<'a>(text: &'a str, config: &'a TokenConfig) -> impl Iterator<Item = Role> + 'a {
    let named = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).and_then(Role::parse);
    let mapped = config.role_map.iter().filter(move |(value, _)| value == text);
    named.into_iter().chain(mapped.map(|(_, role)| *role))
}

/// The claim at a path: with exactly that name, dots included, or member by member.
fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (head, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(head)?, |value, name| value.get(name))
}

/// The texts of a claim: a list, or one text with spaces between them, like `scope` (RFC 8693, section 4.2).
fn texts(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => text.split_whitespace().collect(),
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller_of(claims: Value, config: &TokenConfig) -> Result<Caller, &'static str> {
        let Value::Object(claims) = claims else { panic!("an object") };
        caller(&claims, config)
    }

    #[test]
    fn claims_become_a_caller() {
        let config = TokenConfig {
            tenant_claim: "https://example.com/tenant".to_owned(),
            roles_claim: "realm_access.roles".to_owned(),
            role_map: vec![("ops".to_owned(), Role::Operator)],
            ..TokenConfig::default()
        };
        let claims = json!({
            "https://example.com/tenant": "maps", "sub": "ada", "kinds": ["render", "not a kind!"],
            "realm_access": {"roles": ["longrun:submit", "admin", "read", "ops", "longrun.work"]},
        });
        let caller = caller_of(claims, &config).expect("a caller");
        assert_eq!(caller.tenant.as_str(), "maps");
        assert_eq!(caller.subject(), Some("ada"));
        let roles: Vec<_> = caller.roles().iter().collect();
        assert_eq!(roles, [Role::Submit, Role::Work, Role::Operator], "others' roles are not ours");
        let kind = |name| Kind::parse(name).expect("a kind");
        assert!(caller.may_execute(&[kind("render")]).is_ok());
        assert!(caller.may_execute(&[kind("other")]).is_err());
    }

    #[test]
    fn scopes_are_roles_too_and_what_is_missing_is_said() {
        let config = TokenConfig { roles_claim: "scope".to_owned(), ..TokenConfig::default() };
        let caller = caller_of(json!({"tenant": "a", "scope": "x longrun:read"}), &config);
        assert_eq!(caller.expect("a caller").roles().iter().collect::<Vec<_>>(), [Role::Read]);
        assert_eq!(caller_of(json!({}), &config), Err("it names no tenant"));
        assert!(caller_of(json!({"tenant": 7}), &config).is_err());
        assert!(caller_of(json!({"tenant": "../b"}), &config).is_err());
        assert!(caller_of(json!({"tenant": "a", "sub": "a\nb"}), &config).is_err());
    }
}
