//! JSON Web Tokens: the trusted issuer, and the meaning of claims.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use jsonwebtoken::Algorithm;

use super::handler::EndpointUrl;
use super::{ConfigError, rules};
use crate::operation::{Role, TenantId};
use crate::time_text::parse_duration;

/// Whose JSON Web Tokens (RFC 7519) are taken, and what their claims mean.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Tokens")]
pub struct TokenConfig {
    /// Accept JSON Web Tokens that are signed by a key of this set (JWKS): a file, or a URL, e.g.
    /// `https://id.example.com/keys`; read again every five minutes, and when a token names a key that is not in it
    #[arg(id = "jwt_keys", long = "jwt-keys", value_name = "FILE|URL", env = "LONGRUN_JWT_KEYS")]
    pub keys: Option<KeySource>,
    /// Trust only the certificates of this file (PEM) for an `https` URL of --jwt-keys; by default the system's are trusted
    #[arg(
        id = "jwt_ca_file",
        long = "jwt-ca-file",
        value_name = "FILE",
        env = "LONGRUN_JWT_CA_FILE"
    )]
    pub ca_file: Option<PathBuf>,
    /// The issuer that tokens must name (`iss`)
    #[arg(
        id = "jwt_issuer",
        long = "jwt-issuer",
        value_name = "ISSUER",
        env = "LONGRUN_JWT_ISSUER"
    )]
    pub issuer: Option<String>,
    /// The audience that tokens must name, perhaps among others (`aud`)
    #[arg(
        id = "jwt_audience",
        long = "jwt-audience",
        value_name = "AUDIENCE",
        env = "LONGRUN_JWT_AUDIENCE"
    )]
    pub audience: Option<String>,
    /// Allowed signature algorithm; repeatable (the variable: separated by commas). By default all of RS, PS, ES and EdDSA;
    /// HS256, HS384 and HS512 must be named, and have their secret in a file
    #[arg(long = "jwt-algorithm", value_name = "ALG", env = "LONGRUN_JWT_ALGORITHMS", value_delimiter = ',', value_parser = algorithm)]
    pub algorithms: Vec<Algorithm>,
    /// Tolerated difference of clocks for the times in a token
    #[arg(long = "jwt-skew", value_name = "DURATION", env = "LONGRUN_JWT_SKEW", default_value = "60s", value_parser = parse_duration)]
    pub skew: Duration,
    /// The claim that names the tenant: a name, or a path such as `org.name`
    #[arg(long = "jwt-tenant-claim", value_name = "CLAIM", env = "LONGRUN_JWT_TENANT_CLAIM", default_value = TENANT)]
    pub tenant_claim: String,
    /// The tenant of tokens without that claim; by default the server refuses them
    #[arg(long = "jwt-tenant", value_name = "TENANT", env = "LONGRUN_JWT_TENANT", value_parser = tenant)]
    pub default_tenant: Option<TenantId>,
    /// The claim that grants roles, a list or a text with spaces: `longrun:ROLE`, or what --jwt-role maps; e.g.
    /// `realm_access.roles` with Keycloak, or `scope`
    #[arg(long = "jwt-roles-claim", value_name = "CLAIM", env = "LONGRUN_JWT_ROLES_CLAIM", default_value = ROLES)]
    pub roles_claim: String,
    /// The role that a value of that claim grants: VALUE=ROLE; repeatable (the variable: separated by commas)
    #[arg(long = "jwt-role", value_name = "VALUE=ROLE", env = "LONGRUN_JWT_ROLES", value_delimiter = ',', value_parser = mapping)]
    pub role_map: Vec<(String, Role)>,
    /// The claim that names the kinds that a worker may execute; all without it
    #[arg(long = "jwt-kinds-claim", value_name = "CLAIM", env = "LONGRUN_JWT_KINDS_CLAIM", default_value = KINDS)]
    pub kinds_claim: String,
    /// The claim that names the subject
    #[arg(long = "jwt-subject-claim", value_name = "CLAIM", env = "LONGRUN_JWT_SUBJECT_CLAIM", default_value = SUBJECT)]
    pub subject_claim: String,
}

const TENANT: &str = "tenant";
const ROLES: &str = "roles";
const KINDS: &str = "kinds";
const SUBJECT: &str = "sub";

/// The source of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// A URL of `https`, or of `http` on this machine.
    Url(EndpointUrl),
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::File(text.into()));
        };
        let url = || text.parse::<EndpointUrl>();
        let is_local =
            |url: &EndpointUrl| matches!(url.authority.host(), "localhost" | "127.0.0.1" | "[::1]");
        match scheme.to_ascii_lowercase().as_str() {
            "https" => url().map(Self::Url),
            // An attacker in between could respond.
            "http" if url().as_ref().is_ok_and(is_local) => url().map(Self::Url),
            "http" => Err("must be https://, unless it is on this machine".to_owned()),
            "file" => {
                let uri: http::Uri =
                    text.parse().map_err(|_| "must be a file or a URL".to_owned())?;
                Ok(Self::File(uri.path().into()))
            }
            _ => Err("must be a file or an https:// URL".to_owned()),
        }
    }
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            keys: None,
            ca_file: None,
            issuer: None,
            audience: None,
            algorithms: Vec::new(),
            skew: Duration::from_secs(60),
            tenant_claim: TENANT.to_owned(),
            default_tenant: None,
            roles_claim: ROLES.to_owned(),
            role_map: Vec::new(),
            kinds_claim: KINDS.to_owned(),
            subject_claim: SUBJECT.to_owned(),
        }
    }
}

impl TokenConfig {
    /// Refuses a configuration that would accept tokens made for other services.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let skew = humantime::format_duration(self.skew).to_string().replace(' ', "");
        rules::keep([
            (
                self.keys.is_none() || self.issuer.is_some() && self.audience.is_some(),
                "--jwt-keys",
                None,
                "used with --jwt-issuer and --jwt-audience, because without them the server would accept tokens that \
                 were made for others, e.g. --jwt-keys https://id.example.com/keys --jwt-issuer https://id.example.com \
                 --jwt-audience longrun",
            ),
            (
                self.keys.is_some() || self.issuer.is_none() && self.audience.is_none(),
                "--jwt-issuer and --jwt-audience",
                None,
                "used with --jwt-keys, e.g. --jwt-keys https://id.example.com/keys",
            ),
            (
                self.keys.is_some() || self.ca_file.is_none(),
                "--jwt-ca-file",
                None,
                "used with --jwt-keys, e.g. --jwt-keys https://id.example.com/keys",
            ),
            (self.skew <= Duration::from_secs(600), "--jwt-skew", Some(skew), "at most 10m"),
        ])
    }

    /// The allowed signature algorithms.
    pub fn allowed(&self) -> Vec<Algorithm> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self.algorithms.is_empty() {
            true => vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA],
            false => self.algorithms.clone(),
        }
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let rule = "must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384, HS512";
    text.parse().map_err(|_| rule.to_owned())
}

fn tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|invalid| invalid.to_string())
}

fn mapping(text: &str) -> Result<(String, Role), String> {
    let (value, role) =
        text.rsplit_once('=').ok_or("must be VALUE=ROLE, e.g. longrun-admins=admin")?;
    let role = Role::parse(role).ok_or("the role must be submit, read, work, admin or operator")?;
    Ok((value.to_owned(), role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_or_over_a_connection_that_nobody_reads() {
        assert_eq!("keys.json".parse(), Ok(KeySource::File("keys.json".into())));
        let url = "https://id.example.com/keys";
        assert_eq!(url.parse(), url.parse().map(KeySource::Url));
        assert!("https://ada:secret@id.example.com/keys".parse::<KeySource>().is_err());
        assert!("http://localhost:8080/keys".parse::<KeySource>().is_ok());
        assert!("http://id.example.com/keys".parse::<KeySource>().is_err());
        assert!("ftp://id.example.com/keys".parse::<KeySource>().is_err());
    }

    #[test]
    fn tokens_for_others_are_not_taken() {
        let keys = Some(KeySource::File("keys.json".into()));
        let (issuer, audience) = (Some("i".to_owned()), Some("a".to_owned()));
        let with =
            |keys: &Option<KeySource>, issuer: &Option<String>, audience: &Option<String>| {
                let (keys, issuer, audience) = (keys.clone(), issuer.clone(), audience.clone());
                TokenConfig { keys, issuer, audience, ..TokenConfig::default() }.validate()
            };
        assert!(with(&keys, &issuer, &audience).is_ok());
        assert!(with(&None, &None, &None).is_ok());
        for wrong in [
            with(&keys, &None, &audience),
            with(&keys, &issuer, &None),
            with(&None, &issuer, &audience),
        ] {
            assert!(wrong.is_err());
        }
        assert_eq!(mapping("a=b=admin"), Ok(("a=b".to_owned(), Role::Admin)));
        assert!(mapping("admin").is_err() && mapping("x=root").is_err());
    }
}
