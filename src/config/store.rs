//! The store, and the place for payloads that are too large for rows.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{TypedValueParser, ValueParserFactory};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command, Error};

use crate::files;

/// Where operations are kept.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Storage")]
pub struct Store {
    /// Store of operations: a file, created if it does not exist, or a PostgreSQL database, which any number of servers may
    /// share (`postgres://USER:PASSWORD@HOST/DATABASE`, see docs/postgres.md)
    #[arg(
        long = "store",
        value_name = "sqlite:PATH|postgres://…",
        env = "LONGRUN_STORE",
        hide_env_values = true,
        default_value_t
    )]
    pub url: StoreUrl,
    /// Place for large inputs and results: a directory, or the URL of an object store (s3://BUCKET/PREFIX, gs://…, az://…)
    /// with credentials in the vendor's variables; by default the directory FILE.objects beside the store's file (symbolic
    /// links are followed), and none with PostgreSQL
    #[arg(long, value_name = "DIR|URL", env = "LONGRUN_OBJECTS", value_parser = objects_place)]
    pub objects: Option<String>,
    /// Larger inputs and results are kept in --objects
    #[arg(long, value_name = "SIZE", env = "LONGRUN_OBJECT_THRESHOLD_BYTES", default_value = "256KiB", value_parser = super::size)]
    pub object_threshold_bytes: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: StoreUrl::default(), objects: None, object_threshold_bytes: 256 << 10 }
    }
}

impl Store {
    /// The place for large inputs and results; `None` if there is none that all servers share.
    pub fn objects(&self) -> Option<String> {
        match (&self.objects, &self.url) {
            (Some(place), _) => Some(place.clone()),
            (None, StoreUrl::Sqlite(path)) => {
                // The same directory under every name of the file; an unresolvable name cannot be opened either.
                let file = files::resolve(path).unwrap_or_else(|_| path.clone());
                Some(files::beside(&file, ".objects").display().to_string())
            }
            (None, StoreUrl::Postgres(_)) => None,
        }
    }
}

/// Parses the place for large inputs and results.
pub fn objects_place(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("must be a directory, or the URL of an object store".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// The store's URL: `sqlite:PATH` or `postgres://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// One file, for this process only.
    Sqlite(PathBuf),
    /// A database that servers share.
    Postgres(PostgresUrl),
}

/// Parses the flag. Unlike other parsers, it does not repeat what it cannot read, because a mistyped URL may contain a
/// password.
#[derive(Clone, Copy, Debug)]
pub struct StoreUrlParser;

impl TypedValueParser for StoreUrlParser {
    type Value = StoreUrl;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<StoreUrl, Error> {
        let read = value.to_str().ok_or_else(|| "must be UTF-8".to_owned()).and_then(str::parse);
        read.map_err(|rule: String| {
            let arg = arg.map(Arg::to_string).unwrap_or_default();
            let message = format!("invalid value for '{arg}': {rule}");
            let mut error = command.clone().error(ErrorKind::ValueValidation, message);
            error.insert(ContextKind::InvalidArg, ContextValue::String(arg));
            error
        })
    }
}

impl ValueParserFactory for StoreUrl {
    type Parser = StoreUrlParser;

    fn value_parser() -> StoreUrlParser {
        StoreUrlParser
    }
}

/// The URL of a PostgreSQL database. Displayed without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// The complete URL, including secrets.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self::Sqlite(PathBuf::from("longrun.db"))
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(("sqlite", _)) => Err("sqlite: needs a path, e.g. sqlite:longrun.db".to_owned()),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(PostgresUrl(text.to_owned())))
            }
            _ => {
                Err("must be sqlite:PATH or postgres://USER@HOST/DATABASE, e.g. sqlite:longrun.db"
                    .to_owned())
            }
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Without password and parameters, which may contain another password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.split_once('?').map_or(&*self.0, |(address, _)| address);
        let (scheme, rest) = address.split_once("://").unwrap_or(("postgres", address));
        if !rest.contains('@') && self.0.contains('@') {
            // It may be the beginning of a password that contains a question mark.
            return write!(f, "{scheme}://…");
        }
        match rest.rsplit_once('@') {
            None => write!(f, "{scheme}://{rest}"),
            Some((user, place)) => {
                let user = user.split_once(':').map_or(user, |(user, _)| user);
                write!(f, "{scheme}://{user}@{place}")
            }
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_read() {
        let path = PathBuf::from("a:b.db");
        assert_eq!("sqlite:a:b.db".parse(), Ok(StoreUrl::Sqlite(path)));
        for bad in ["sqlite:", "mysql://x", "postgres:x", "longrun.db"] {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url: StoreUrl = "postgres://me:se@cret@a,b:1/jobs?password=secret".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://me@a,b:1/jobs");
        assert_eq!(format!("{url:?}"), "Postgres(postgres://me@a,b:1/jobs)");
        let StoreUrl::Postgres(url) = url else { panic!("{url}") };
        assert!(url.secret().contains("secret"));
        let url: StoreUrl = "postgres://me:se?cret@a/jobs".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://…");
    }

    #[test]
    fn objects_are_beside_the_file_or_where_it_is_said() {
        let mut store = Store::default();
        let here = std::fs::canonicalize(".").unwrap();
        let beside = |name: &str| Some(here.join(name).display().to_string());
        assert_eq!(store.objects(), beside("longrun.db.objects"));
        store.url = "sqlite:src/../other.db".parse().unwrap();
        assert_eq!(store.objects(), beside("other.db.objects"));
        store.url = "postgres://h/d".parse().unwrap();
        assert_eq!(store.objects(), None);
        store.objects = Some("s3://bucket".to_owned());
        assert_eq!(store.objects().as_deref(), Some("s3://bucket"));
    }
}
